"""Π of a decoder as a table: which part of each of the supernet's tensors a subnet keeps."""

from __future__ import annotations

from edgedistill.architecture import Architecture, LayerShape, Subnet

__all__ = ["decoder_extents"]


def decoder_extents(arch: Architecture, subnet: Subnet) -> dict[str, tuple[int, ...]]:
    """Name → how many leading entries are kept along each dimension, for every tensor that is kept."""
    d = subnet.hidden
    kept: dict[str, tuple[int, ...]] = {"word.weight": (arch.vocabulary, d)}
    if arch.rope_theta is None:
        kept["position.weight"] = (arch.positions, d)
    for layer in subnet.layers:
        kept |= _layer(arch, f"layers.{layer.index}", layer, d)
    head = {} if arch.tied else _linear("head", arch.vocabulary, d, bias=False)
    return kept | _norm(arch, "norm", d) | head


def _layer(arch: Architecture, prefix: str, shape: LayerShape, d: int) -> dict[str, tuple[int, ...]]:
    size = arch.head_size
    inner, shared = shape.heads * size, arch.kv_heads_of(shape.heads) * size
    kept = {
        **_norm(arch, f"{prefix}.attention_norm", d),
        **_linear(f"{prefix}.query", inner, d, bias=arch.qkv_bias),
        **_linear(f"{prefix}.key", shared, d, bias=arch.qkv_bias),
        **_linear(f"{prefix}.value", shared, d, bias=arch.qkv_bias),
        **_linear(f"{prefix}.attention_output", d, inner, bias=arch.output_bias),
        **_norm(arch, f"{prefix}.ffn_norm", d),
        **_linear(f"{prefix}.ffn_up", shape.ffn, d, bias=arch.ffn_bias),
        **_linear(f"{prefix}.ffn_down", d, shape.ffn, bias=arch.ffn_bias),
    }
    if arch.gated:
        kept |= _linear(f"{prefix}.ffn_gate", shape.ffn, d, bias=arch.ffn_bias)
    if arch.qk_norm:
        kept |= {f"{prefix}.{part}_norm.weight": (size,) for part in ("query", "key")}
    return kept


def _linear(name: str, rows: int, columns: int, *, bias: bool) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (rows, columns), **({f"{name}.bias": (rows,)} if bias else {})}


def _norm(arch: Architecture, name: str, d: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (d,), **({f"{name}.bias": (d,)} if arch.norm == "layer" else {})}
