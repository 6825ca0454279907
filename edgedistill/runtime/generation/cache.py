"""The keys and values of the tokens so far, in memory that a generation takes once and gives back as a whole.

Shapes: k KV heads of a layer, c tokens that there is room for (the capacity), s head size.
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
    """One of a step graph's caches: the names of its input and its output, its KV heads and their size."""

    past: str
    present: str
    heads: int
    size: int


def heads_of(inputs: Sequence[Any]) -> list[Heads]:
    """The caches that a step graph has, from what a session says of its inputs.

    Raises:
        PaletteError: an input's shape is not [1, k, capacity, s].
    """
    found = []
    for node in inputs:
        name, shape = node.name, node.shape  # each made anew whenever it is asked for
        if not name.startswith("past_"):
            continue
        if len(shape) != 4 or not isinstance(shape[1], int) or not isinstance(shape[3], int):
            raise PaletteError(f"{name} is {shape}; expected [1, heads, tokens, head size]")
        found.append(Heads(name, f"present_{name.removeprefix('past_')}", shape[1], shape[3]))
    return found


def capacity_for(tokens: int, context: int) -> int:
    """Room for so many tokens, rounded up to whole steps of 32, but not beyond the context."""
    return min(-(-tokens // _ROUNDED_TO) * _ROUNDED_TO, max(tokens, context))


class Cache:
    """The caches of one generation on one subnet, [1, k, c, s] each, and how many tokens are in them.

    They lie in a piece of memory of their own, asked of the system: with the last reference to it, all of it goes back
    at once, whatever the process's heap looks like.
    """

    def __init__(self, heads: Sequence[Heads], capacity: int) -> None:
        sizes = [_aligned(one.heads * capacity * one.size * _FLOAT) for one in heads]
        memory = _memory(max(1, sum(sizes)))
        self.capacity = capacity
        self.tokens = 0
        self.arrays: dict[Heads, NDArray[np.float32]] = {}
        offset = 0
        for one, size in zip(heads, sizes, strict=True):
            shape = 1, one.heads, capacity, one.size
            count = one.heads * capacity * one.size
            self.arrays[one] = np.frombuffer(memory, np.float32, count, offset).reshape(shape)
            offset += size


def _memory(size: int) -> mmap.mmap:
    """So many bytes of zeros, of this process alone: pages that others may share, as Python's are unless it is told,
    take half as long again to come, and twice as long to go.
    """
    if sys.platform == "win32":
        return mmap.mmap(-1, size)
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def _aligned(size: int) -> int:
    return -(-size // _ALIGNED_TO) * _ALIGNED_TO
