"""Π as a table: which part of each of the supernet's tensors a subnet keeps.

The forward pass slices as it goes; exporters and plain checkpoints slice by this table. A test holds
the two together.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from edgedistill.subnet import Architecture, LayerShape, SubnetConfig
from edgedistill.supernet.encoder import ElasticEncoder

__all__ = ["extents", "full_tensors", "slice_tensors"]


def extents(arch: Architecture, subnet: SubnetConfig) -> dict[str, tuple[int, ...]]:
    """Name → how many leading entries are kept along each dimension, for every tensor that is kept."""
    d = subnet.hidden
    kept: dict[str, tuple[int, ...]] = {
        "embeddings.word.weight": (arch.vocabulary, d),
        "embeddings.position.weight": (arch.positions, d),
        **({"embeddings.token_type.weight": (arch.token_types, d)} if arch.token_types else {}),
        **_norm("embeddings.norm", d),
    }
    for layer in subnet.layers:
        kept |= _layer(f"layers.{layer.index}", layer, d, arch.head_size)
    dense = _linear("dense", d, d) if arch.dense else {}
    return kept | dense | _linear("classifier", arch.outputs, d)


def _layer(prefix: str, shape: LayerShape, d: int, head_size: int) -> dict[str, tuple[int, ...]]:
    inner = shape.heads * head_size
    return {
        **_linear(f"{prefix}.query", inner, d),
        **_linear(f"{prefix}.key", inner, d),
        **_linear(f"{prefix}.value", inner, d),
        **_linear(f"{prefix}.attention_output", d, inner),
        **_norm(f"{prefix}.attention_norm", d),
        **_linear(f"{prefix}.ffn_up", shape.ffn, d),
        **_linear(f"{prefix}.ffn_down", d, shape.ffn),
        **_norm(f"{prefix}.ffn_norm", d),
    }


def _linear(name: str, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def _norm(name: str, d: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (d,), f"{name}.bias": (d,)}


def full_tensors(model: ElasticEncoder) -> dict[str, Tensor]:
    """Every tensor of the maxnet, the low-rank pairs merged in; matrices are [out, in]."""
    state = model.state_dict()
    linears = model.elastic_linears()
    names = extents(model.arch, model.arch.full)
    merged = {f"{name}.weight": linear.full_weight().detach() for name, linear in linears.items()}
    return {name: merged[name] if name in merged else state[name] for name in names}


def slice_tensors(tensors: Mapping[str, Tensor], kept: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The leading part of each kept tensor, contiguous."""
    return {name: tensors[name][tuple(slice(end) for end in ends)].contiguous() for name, ends in kept.items()}
