"""Attention as one node of onnxruntime's own: one product for queries, keys and values, and no transposed copies.

Every onnxruntime for CPU has the operator (``com.microsoft.Attention``). The weights stay as they are in the shared
file: a Concat puts a subnet's slices side by side, which onnxruntime folds when it creates the session, as it does the
slices. It is for fp32 alone: weights in whole numbers are not multiplied by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx
import torch
from onnx import NodeProto, TensorProto, helper

from edgedistill.subnet import Architecture, SubnetConfig

__all__ = ["fit_heads", "fused_template"]

_DOMAIN = "com.microsoft"
_NODE = "layers.{}.attention"
_PARTS = ("query", "key", "value")
_MASK, _WHOLE_MASK = "attention_mask", "attention_mask.int32"


def fused_template(template: onnx.ModelProto, arch: Architecture) -> onnx.ModelProto:
    """The template with each layer's attention in one node; what computed it before has no readers left."""
    model = onnx.ModelProto.FromString(template.SerializeToString())
    nodes = [helper.make_node("Cast", [_MASK], [_WHOLE_MASK], to=TensorProto.INT32), *model.graph.node]
    for index in range(arch.layers):
        nodes = _fused(nodes, index, arch.heads)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    return model


def fit_heads(nodes: Iterable[NodeProto], subnet: SubnetConfig) -> None:
    """Give each fused node of a kept layer the number of heads that the layer keeps."""
    heads = {_NODE.format(layer.index): layer.heads for layer in subnet.layers}
    for node in nodes:
        if node.name in heads:
            next(attribute for attribute in node.attribute if attribute.name == "num_heads").i = heads[node.name]


def _fused(nodes: list[NodeProto], index: int, heads: int) -> list[NodeProto]:
    layer, name = f"layers.{index}", _NODE.format(index)
    x = next(_readers(nodes, f"{layer}.query.weight")).input[0]
    reader = next(_readers(nodes, f"{layer}.attention_output.weight"))
    reader.input[0] = f"{name}.context"
    joined = [
        helper.make_node("Concat", [f"{layer}.{part}.{kind}" for part in _PARTS], [f"{name}.{kind}"], axis=axis)
        for kind, axis in (("weight", 1), ("bias", 0))
    ]
    attention = helper.make_node(
        "Attention",
        [x, f"{name}.weight", f"{name}.bias", _WHOLE_MASK],
        [f"{name}.context"],
        name,
        domain=_DOMAIN,
        num_heads=heads,
        mask_filter_value=torch.finfo(torch.float32).min,
    )
    place = nodes.index(reader)
    return [*nodes[:place], *joined, attention, *nodes[place:]]


def _readers(nodes: Iterable[NodeProto], name: str) -> Iterator[NodeProto]:
    return (node for node in nodes if name in node.input)
