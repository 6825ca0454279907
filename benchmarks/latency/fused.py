"""Run a stand-alone file through onnxruntime's transformers optimizer, in three ways.

`as it is`: the optimizer finds BiasGelu and SkipLayerNormalization, and no attention. `all`: the graph is first
rewritten to match its attention pattern (two Unsqueezes of the mask, a division by the scale, the number of heads),
then every fusion runs. `attention`: the same rewrite, with the attention fusion alone.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper
from onnxruntime.transformers.fusion_options import AttentionMaskFormat, FusionOptions
from onnxruntime.transformers.optimizer import optimize_model

Way = Literal["as it is", "all", "attention"]
WAYS: tuple[Way, ...] = ("as it is", "all", "attention")


def fuse(source: Path, target: Path, heads: int, head_size: int, way: Way) -> dict[str, int]:
    """Write the optimized file; how many nodes of each kind were fused."""
    logging.getLogger("onnxruntime.transformers").setLevel(logging.ERROR)
    model = onnx.load(source)
    model.producer_name = "pytorch"  # or it warns of each file
    if way != "as it is":
        _reword(model.graph, heads, head_size)
    onnx.save(model, target)
    options = FusionOptions("bert")
    options.attention_mask_format = AttentionMaskFormat.AttentionMask  # a mask as ours, not only padding behind
    if way == "attention":
        options.enable_skip_layer_norm = options.enable_bias_skip_layer_norm = options.enable_bias_gelu = False
    # Hidden size 0: it would refuse heads that are fewer than the hidden width has.
    found = optimize_model(
        str(target), "bert", num_heads=heads, hidden_size=0, optimization_options=options, opt_level=0
    )
    found.save_model_to_file(str(target))
    names = ("Attention", "SkipLayerNormalization", "BiasGelu")
    counts = {name: found.get_fused_operator_statistics()[name] for name in names}
    assert way == "as it is" or counts["Attention"], "the optimizer's pattern has changed"
    return counts


def _reword(graph: onnx.GraphProto, heads: int, head_size: int) -> None:
    """Rewrite the same computation as the optimizer's patterns expect it."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    added: dict[str, onnx.TensorProto] = {}
    products = {node.output[0] for node in graph.node if node.op_type == "MatMul"}
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type == "Unsqueeze" and node.input[0] == "attention_mask":
            nodes += _unsqueezed(node, numpy_helper.to_array(constants[node.input[1]]).ravel().tolist(), added)
        elif node.op_type == "Mul" and node.input[0] in products and node.input[1] in constants:
            nodes.append(_divided(node, head_size, added))
        else:
            if node.op_type == "Reshape":
                node.input[1] = _shape(
                    numpy_helper.to_array(constants[node.input[1]]).tolist(), heads, head_size, added
                )
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(added.values())


def _unsqueezed(node: NodeProto, axes: list[int], added: dict[str, onnx.TensorProto]) -> list[NodeProto]:
    """Unsqueeze one axis after the other."""
    names = [node.input[0], *(f"{node.output[0]}.{axis}" for axis in axes[:-1]), node.output[0]]
    for axis in axes:
        added[f"axis.{axis}"] = numpy_helper.from_array(np.array([axis], np.int64), f"axis.{axis}")
    return [
        helper.make_node("Unsqueeze", [names[place], f"axis.{axis}"], [names[place + 1]])
        for place, axis in enumerate(axes)
    ]


def _divided(node: NodeProto, head_size: int, added: dict[str, onnx.TensorProto]) -> NodeProto:
    """Divide by the root of the head size."""
    added["root"] = numpy_helper.from_array(np.array(head_size**0.5, np.float32), "root")
    return helper.make_node("Div", [node.input[0], "root"], list(node.output))


def _shape(shape: list[int], heads: int, head_size: int, added: dict[str, onnx.TensorProto]) -> str:
    """Replace what a reshape infers by numbers."""
    whole = [0, 0, heads, head_size] if len(shape) == 4 else [0, 0, heads * head_size]
    name = "_".join(["whole", *map(str, whole)])
    added[name] = numpy_helper.from_array(np.array(whole, np.int64), name)
    return name
