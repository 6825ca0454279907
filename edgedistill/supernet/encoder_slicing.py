"""Π of an encoder as a table: which part of each of the supernet's tensors a subnet keeps."""

from __future__ import annotations

from edgedistill.architecture import Architecture, LayerShape, Subnet

__all__ = ["encoder_extents"]


def encoder_extents(arch: Architecture, subnet: Subnet) -> dict[str, tuple[int, ...]]:
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
    return kept | dense | _linear("classifier", arch.output_width, d)


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
