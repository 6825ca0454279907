"""int8: matrices of whole numbers with one scale an output channel, and the graph that multiplies them.

A weight w is stored as uint8 q, w ≈ s·(q − 128), |q − 128| ≤ 127, with one s for each output channel of a matrix
[in, out] and for each row of an embedding table. It is quantised once, at full width: a slice of q and of s is
the slice's own quantisation, so that int8 subnets share one file as fp32 ones do. Unsigned, because signed
weights beside unsigned activations saturate on x86-64 without VNNI. Activations are quantised as they come,
one scale a tensor (DynamicQuantizeLinear). Biases, norms and the head stay as they are: they are small.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
import onnx
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor

__all__ = ["quantisable", "quantised", "quantised_template", "scale_of", "scale_shape"]

ZERO_POINT = 128
_LARGEST = 127
_HEAD = ("dense.", "classifier.")


def scale_of(name: str) -> str:
    """The name of a quantised tensor's scales."""
    return f"{name}.scale"


def scale_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the scales of a tensor of this shape: [V, 1] of a table, [out] of a matrix."""
    return (shape[0], 1) if name.startswith("embeddings.") else shape[1:]


def quantisable(shapes: Mapping[str, tuple[int, ...]], kept: Collection[str] = ()) -> list[str]:
    """Names of what becomes int8: tables and the layers' matrices, but none whose name begins with one of ``kept``."""
    untouched = (*_HEAD, *(f"{prefix}." for prefix in kept))
    return [name for name, shape in shapes.items() if len(shape) == 2 and not f"{name}.".startswith(untouched)]


def quantised(tensors: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """All of ``tensors``, as graphs hold them, those of ``names`` as uint8 with their scales beside them."""
    result = dict(tensors)
    for name in names:
        tensor = tensors[name]
        axis = 1 if name.startswith("embeddings.") else 0
        scale = tensor.abs().amax(axis, keepdim=True) / _LARGEST
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        result[name] = ((tensor / scale).round() + ZERO_POINT).to(torch.uint8)
        result[scale_of(name)] = scale.reshape(scale_shape(name, tuple(tensor.shape)))
    return result


def quantised_template(template: onnx.ModelProto, names: Collection[str]) -> onnx.ModelProto:
    """The template with integer products where a weight of ``names`` is multiplied, and tables read as integers."""
    model = onnx.ModelProto.FromString(template.SerializeToString())
    nodes: list[NodeProto] = []
    activations: set[str] = set()
    for node in model.graph.node:
        weight = next((name for name in node.input if name in names), None)
        if weight is None:
            nodes.append(node)
        elif node.op_type == "Gather":
            nodes += _table_rows(weight, node)
        else:
            nodes += _product(weight, node, activations)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(ZERO_POINT, np.uint8), "zero_point"),
            numpy_helper.from_array(np.array(ZERO_POINT, np.float32), "zero_point_float"),
        ]
    )
    return model


def _table_rows(table: str, gather: NodeProto) -> list[NodeProto]:
    """s·(q − 128) of the rows that are gathered."""
    rows, out = gather.input[1], gather.output[0]
    names = {part: f"{out}.{part}" for part in ("stored", "float", "centred", "scale")}
    return [
        helper.make_node("Gather", [table, rows], [names["stored"]]),
        helper.make_node("Cast", [names["stored"]], [names["float"]], to=TensorProto.FLOAT),
        helper.make_node("Sub", [names["float"], "zero_point_float"], [names["centred"]]),
        helper.make_node("Gather", [scale_of(table), rows], [names["scale"]]),
        helper.make_node("Mul", [names["centred"], names["scale"]], [out]),
    ]


def _product(weight: str, product: NodeProto, activations: set[str]) -> list[NodeProto]:
    """x·W as integers, scaled back; what quantises x is shared by all that multiply it."""
    x, out = product.input[0], product.output[0]
    whole = [f"{x}.{part}" for part in ("quantised", "scale", "zero_point")]
    nodes = [] if x in activations else [helper.make_node("DynamicQuantizeLinear", [x], whole)]
    activations.add(x)
    return [
        *nodes,
        helper.make_node("MatMulInteger", [whole[0], weight, whole[2], "zero_point"], [f"{out}.integer"]),
        helper.make_node("Cast", [f"{out}.integer"], [f"{out}.float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [whole[1], scale_of(weight)], [f"{out}.scale"]),
        helper.make_node("Mul", [f"{out}.float", f"{out}.scale"], [out]),
    ]
