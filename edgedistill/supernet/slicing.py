"""Compute Π as a table: which part of each of the supernet's tensors a subnet keeps, in the order they compute.

The forward pass slices as it goes; exporters and plain checkpoints slice by this table. A test holds
the two together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from edgedistill.architecture import Architecture, LayerShape, Subnet
from edgedistill.supernet.model import ElasticTransformer

__all__ = ["extents", "full_tensors", "renumbered", "slice_tensors", "tensors_alone"]

Extents = dict[str, tuple[int, ...]]


def extents(arch: Architecture, subnet: Subnet) -> Extents:
    """Return how many leading entries the subnet keeps along each dimension, by tensor, for every tensor it keeps."""
    d = subnet.hidden
    layers: Extents = {}
    for layer in subnet.layers:
        layers |= _layer(arch, f"layers.{layer.index}", layer, d)
    if arch.outputs is None:
        head = {} if arch.tied else _linear("head", arch.vocabulary, d, bias=False)
        return _tables(arch, "", d) | layers | _norm(arch, "norm", d) | head
    dense = _linear("dense", d, d) if arch.dense else {}
    width = arch.table_width or d
    stem = _tables(arch, "embeddings.", width) | _norm(arch, "embeddings.norm", width)
    projection = _linear("projection", d, width) if arch.table_width else {}
    return stem | projection | layers | dense | _linear("classifier", arch.outputs, d)


def _tables(arch: Architecture, prefix: str, d: int) -> Extents:
    rows = {
        "word": arch.vocabulary,
        "position": arch.positions if arch.rope_theta is None else 0,
        "token_type": arch.token_types,
    }
    return {f"{prefix}{name}.weight": (count, d) for name, count in rows.items() if count}


def _layer(arch: Architecture, prefix: str, shape: LayerShape, d: int) -> Extents:
    size = arch.head_size
    inner, shared = shape.heads * size, arch.kv_heads_of(shape.heads) * size
    norms = [_norm(arch, f"{prefix}.{part}_norm", d) for part in ("attention", "ffn")]
    before, after = (norms, ({}, {})) if arch.norm_place == "before" else (({}, {}), norms)
    tensors = {
        **before[0],
        **_linear(f"{prefix}.query", inner, d, bias=arch.qkv_bias),
        **_linear(f"{prefix}.key", shared, d, bias=arch.qkv_bias),
        **_linear(f"{prefix}.value", shared, d, bias=arch.qkv_bias),
        **_linear(f"{prefix}.attention_output", d, inner, bias=arch.output_bias),
        **after[0],
        **before[1],
        **_linear(f"{prefix}.ffn_up", shape.ffn, d, bias=arch.ffn_bias),
        **_linear(f"{prefix}.ffn_down", d, shape.ffn, bias=arch.ffn_bias),
        **after[1],
    }
    if arch.gated:
        tensors |= _linear(f"{prefix}.ffn_gate", shape.ffn, d, bias=arch.ffn_bias)
    if arch.qk_norm:
        tensors |= {f"{prefix}.{part}_norm.weight": (size,) for part in ("query", "key")}
    return tensors


def _linear(name: str, rows: int, columns: int, *, bias: bool = True) -> Extents:
    return {f"{name}.weight": (rows, columns), **({f"{name}.bias": (rows,)} if bias else {})}


def _norm(arch: Architecture, name: str, d: int) -> Extents:
    return {f"{name}.weight": (d,), **({f"{name}.bias": (d,)} if arch.norm == "layer" else {})}


def full_tensors(model: ElasticTransformer) -> dict[str, Tensor]:
    """Return every tensor of the maxnet, the low-rank pairs merged in; matrices are [out, in]."""
    state = model.state_dict()
    linears = model.elastic_linears()
    names = extents(model.arch, model.arch.full)
    merged = {f"{name}.weight": linear.full_weight().detach() for name, linear in linears.items()}
    return {name: merged[name] if name in merged else state[name] for name in names}


def slice_tensors(tensors: Mapping[str, Tensor], ends: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Return the leading part of each tensor, contiguous."""
    return {name: tensors[name][tuple(map(slice, shape))].contiguous() for name, shape in ends.items()}


def tensors_alone(model: ElasticTransformer, subnet: Subnet) -> dict[str, Tensor]:
    """Return the subnet's tensors as a model of its own holds them: layers counted from 0 without gaps."""
    return renumbered(subnet, slice_tensors(full_tensors(model), extents(model.arch, subnet)))


def renumbered(subnet: Subnet, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a subnet's tensors with its layers counted from 0 without gaps."""
    places = {str(index): str(place) for place, index in enumerate(subnet.kept)}
    return {re.sub(r"(?<=^layers\.)\d+", lambda at: places[at.group()], name): t for name, t in tensors.items()}
