"""Hold the KV cache of one generation, in memory that is allocated once and returned as a whole.

Shapes: k KV heads of a layer, c tokens of capacity, s head size.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedistill.errors import PaletteError

__all__ = ["Cache", "Heads", "capacity_for", "heads_of"]

_ROUNDED_TO = 32  # tokens
_ALIGNED_TO = 64  # bytes
_FLOAT = np.dtype(np.float32).itemsize


@dataclass(frozen=True, slots=True)
class Heads:
    """Describe one of a step graph's caches: the names of its input and output, its KV heads and their size."""

    past: str
    present: str
    heads: int
    size: int


def heads_of(inputs: Sequence[Any]) -> list[Heads]:
    """Return the caches of a step graph, from a session's description of its inputs.

    Raises:
        PaletteError: an input's shape is not [1, k, capacity, s].
    """
    caches = []
    for node in inputs:
        name, shape = node.name, node.shape  # each access creates it again
        if not name.startswith("past_"):
            continue
        if len(shape) != 4 or not isinstance(shape[1], int) or not isinstance(shape[3], int):
            raise PaletteError(f"{name} is {shape}; expected [1, heads, tokens, head size]")
        caches.append(Heads(name, f"present_{name.removeprefix('past_')}", shape[1], shape[3]))
    return caches


def capacity_for(tokens: int, context: int) -> int:
    """Return the capacity for ``tokens``, rounded up to a multiple of 32, but not beyond the context."""
    return min(-(-tokens // _ROUNDED_TO) * _ROUNDED_TO, max(tokens, context))


class Cache:
    """Hold the caches of one generation on one subnet, [1, k, c, s] each, and the number of tokens in them.

    They have a memory mapping of their own: with the last reference all of it is returned to the system at once,
    however fragmented the heap is.
    """

    def __init__(self, heads: Sequence[Heads], capacity: int) -> None:
        sizes = [_aligned(cache.heads * capacity * cache.size * _FLOAT) for cache in heads]
        memory = _memory(max(1, sum(sizes)))
        self.capacity = capacity
        self.tokens = 0
        self.arrays: dict[Heads, NDArray[np.float32]] = {}
        offset = 0
        for cache, size in zip(heads, sizes, strict=True):
            shape = 1, cache.heads, capacity, cache.size
            count = cache.heads * capacity * cache.size
            self.arrays[cache] = np.frombuffer(memory, np.float32, count, offset).reshape(shape)
            offset += size


def _memory(size: int) -> mmap.mmap:
    """Allocate ``size`` zero bytes in private pages.

    Shared pages, Python's default, take 1.5 times as long to allocate and twice as long to free.
    """
    if sys.platform == "win32":
        return mmap.mmap(-1, size)
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def _aligned(size: int) -> int:
    return -(-size // _ALIGNED_TO) * _ALIGNED_TO
