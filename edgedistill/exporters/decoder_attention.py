"""Write attention over the cache as one node of onnxruntime's own (``com.microsoft.GroupQueryAttention``).

The node rotates queries and keys, writes the new keys and values into the cache, and reads them there. Heads whose size
its CPU kernel does not take are rotated by a node of their own, and padded.
"""

from __future__ import annotations

from edgedistill.architecture import Architecture, LayerShape
from edgedistill.exporters.decoder_weights import COSINES, SINES
from edgedistill.exporters.graph_blocks import by_head, flat
from edgedistill.exporters.graph_builder import GraphBuilder

__all__ = ["attend", "cache_head_size"]

_LANES = 8  # the kernel takes heads of a multiple of this, and turns them by a multiple of this many angles
_PARTS = ("query", "key", "value")


def cache_head_size(arch: Architecture) -> int:
    """Return the size of a head in the cache."""
    return -(-arch.head_size // _LANES) * _LANES


def attend(builder: GraphBuilder, arch: Architecture, shape: LayerShape, place: int, x: str, eps: float) -> str:
    """Attend by queries, keys and values next to each other [1, n, (h + 2k)·s] → context [1, n, h·s].

    ``place``: the layer's number within the subnet, which names its part of the cache.
    """
    prefix, size = f"layers.{shape.index}", arch.head_size
    padded, turns = cache_head_size(arch) != size, arch.rope_theta is not None
    turned_apart = turns and size // 2 % _LANES != 0
    parts = [x, "", ""]
    if arch.qk_norm or turned_apart or padded:
        parts = _parted(builder, arch, shape, x)
    if arch.qk_norm:
        parts[:2] = [_norm_heads(builder, parts[i], f"{prefix}.{_PARTS[i]}_norm", size, eps) for i in range(2)]
    if turned_apart:
        parts[:2] = [_turn(builder, part) for part in parts[:2]]
    if padded:
        parts = [_pad_heads(builder, part, size, cache_head_size(arch)) for part in parts]
    caches = [f"past_key_{place}", f"past_value_{place}", "seqlens_k", "total_sequence_length"]
    angles = [COSINES, SINES] if turns and not turned_apart else []
    context = builder.fuse(
        "GroupQueryAttention",
        [*parts, *caches, *angles],
        f"{prefix}.attention",
        f"present_key_{place}",
        f"present_value_{place}",
        num_heads=shape.heads,
        kv_num_heads=arch.kv_heads_of(shape.heads),
        do_rotary=int(bool(angles)),
        scale=size**-0.5,
    )
    return _pad_heads(builder, context, cache_head_size(arch), size) if padded else context


def _parted(builder: GraphBuilder, arch: Architecture, shape: LayerShape, x: str) -> list[str]:
    shared = arch.kv_heads_of(shape.heads)
    widths = [heads * arch.head_size for heads in (shape.heads, shared, shared)]
    names = [f"layers.{shape.index}.{part}" for part in _PARTS]
    builder.add("Split", [x, builder.constant(widths, "_".join(["widths", *map(str, widths)]))], *names, axis=2)
    return names


def _norm_heads(builder: GraphBuilder, x: str, norm: str, size: int, eps: float) -> str:
    heads = by_head(builder, x, size, f"{x}.heads")
    normed = builder.add(
        "SimplifiedLayerNormalization", [heads, f"{norm}.weight"], norm, axis=-1, epsilon=eps, stash_type=1
    )
    return flat(builder, normed, f"{norm}.flat")


def _turn(builder: GraphBuilder, x: str) -> str:
    """Rotate x [1, n, heads·s] by its positions; its first token follows those in the cache."""
    place = "first_position"
    if not any(place in node.output for node in builder.nodes):
        builder.add("Shape", ["input_ids"], "new_tokens", start=1, end=2)
        builder.add("Cast", ["total_sequence_length"], "all_tokens", to=7)
        builder.add("Sub", ["all_tokens", "new_tokens"], place)
    return builder.fuse("RotaryEmbedding", [x, place, COSINES, SINES], f"{x}.turned")


def _pad_heads(builder: GraphBuilder, x: str, size: int, target: int) -> str:
    """Pad each head of x [1, n, heads·size] with zeros to the ``target`` size, or cut it to a smaller one."""
    heads = by_head(builder, x, size, f"{x}.by_head")
    if target > size:
        ends = builder.constant([0, 0, 0, 0, 0, 0, 0, target - size], f"behind_{target - size}")
        fitted = builder.add("Pad", [heads, ends], f"{x}.fitted")
    else:
        fitted = builder.first(heads, target, f"{x}.fitted", axis=3)
    return flat(builder, fitted, f"{x}.padded")
