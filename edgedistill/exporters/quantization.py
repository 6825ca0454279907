"""Quantize matrices to int8 with one scale per output channel, and build the nodes that multiply them.

A weight w is stored as uint8 q, w ≈ s·(q − 128), |q − 128| ≤ 127, with one s for each output channel of a matrix
[in, out] and for each row of an embedding table. It is quantised once, at full width: a slice of q and of s is
the slice's own quantisation, so that int8 subnets share one file as fp32 ones do. Unsigned, because signed
weights next to unsigned activations saturate on x86-64 without VNNI. Activations are quantised as they come,
one scale a tensor (DynamicQuantizeLinear). Biases, norms and the head stay as they are: they are small.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
import torch
from onnx import TensorProto
from torch import Tensor

from edgedistill.exporters.graph_builder import GraphBuilder

__all__ = ["ZERO_POINT", "integer_product", "integer_rows", "quantisable", "quantised", "scale_of", "scale_shape"]

ZERO_POINT = 128
_MAX_MAGNITUDE = 127
_HEAD = ("dense.", "classifier.")


def scale_of(name: str) -> str:
    """Return the name of a quantised tensor's scales."""
    return f"{name}.scale"


def scale_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a tensor's scales: [V, 1] for a table, [out] for a matrix."""
    return (shape[0], 1) if name.startswith("embeddings.") else shape[1:]


def quantisable(shapes: Mapping[str, tuple[int, ...]], keep_fp32: Collection[str] = ()) -> list[str]:
    """Return the names of tables and layer matrices to quantize; prefixes in ``keep_fp32`` are left out."""
    untouched = (*_HEAD, *(f"{prefix}." for prefix in keep_fp32))
    return [name for name, shape in shapes.items() if len(shape) == 2 and not f"{name}.".startswith(untouched)]


def quantised(tensors: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """Return all ``tensors`` in the layout of the graphs, those in ``names`` as uint8 with their scales added."""
    result = dict(tensors)
    for name in names:
        tensor = tensors[name]
        axis = 1 if name.startswith("embeddings.") else 0
        scale = tensor.abs().amax(axis, keepdim=True) / _MAX_MAGNITUDE
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        result[name] = ((tensor / scale).round() + ZERO_POINT).to(torch.uint8)
        result[scale_of(name)] = scale.reshape(scale_shape(name, tuple(tensor.shape)))
    return result


def integer_rows(builder: GraphBuilder, table: str, ids: str, output: str) -> str:
    """Look up rows of a quantized table and restore them: s·(q − 128)."""
    names = {part: f"{output}.{part}" for part in ("stored", "float", "centred", "scale")}
    zero_point = builder.array(np.array(ZERO_POINT, np.float32), "zero_point_float")
    builder.add("Gather", [table, ids], names["stored"])
    builder.add("Cast", [names["stored"]], names["float"], to=TensorProto.FLOAT)
    builder.add("Sub", [names["float"], zero_point], names["centred"])
    builder.add("Gather", [scale_of(table), ids], names["scale"])
    return builder.add("Mul", [names["centred"], names["scale"]], output)


def integer_product(builder: GraphBuilder, x: str, weight: str, output: str) -> str:
    """Multiply x [..., in] by a quantized matrix [in, out] in integers, and scale the result back.

    All products of the same x share its quantized form.
    """
    quantized, scale, zero = (f"{x}.{part}" for part in ("quantised", "scale", "zero_point"))
    if not any(quantized in node.output for node in builder.nodes):
        builder.add("DynamicQuantizeLinear", [x], quantized, scale, zero)
    zero_point = builder.array(np.array(ZERO_POINT, np.uint8), "zero_point")
    builder.add("MatMulInteger", [quantized, weight, zero, zero_point], f"{output}.integer")
    builder.add("Cast", [f"{output}.integer"], f"{output}.float", to=TensorProto.FLOAT)
    builder.add("Mul", [scale, scale_of(weight)], f"{output}.scale")
    return builder.add("Mul", [f"{output}.float", f"{output}.scale"], output)
