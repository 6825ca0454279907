"""Move weights to huge pages: a processor that reads all of them for each token spends less time on page lookups.

Most systems use huge pages only on request, and onnxruntime does not request them. Linux since 6.1 can move existing
memory. The benchmark `generation-speed` measures what they bring: single tokens gain most, and long
inputs next to nothing, as they read the weights once for many tokens.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["HugePages"]

_SETTINGS = "sys/kernel/mm/transparent_hugepage"
_MADV_COLLAPSE = 25
_ENTRY = 8  # bytes of a page in pagemap, little-endian; the highest bit: it is present
_MAX_FAILURES = 3  # an older Linux, or no memory to spare: more tries would take time for nothing


class HugePages:
    """Move memory that this process allocated since this object was created, and not the application's own."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._size = _size(root)
        self._before = frozenset(_in_use(self._size))

    def move(self) -> int:
        """Move memory to huge pages where all of one is in use, so that it takes no more than before.

        Returns bytes moved, those in huge pages already among them; 0 where the system has none, or is told to give
        none.
        """
        done = failures = 0
        for start in _in_use(self._size):
            if start in self._before:
                continue
            if _collapse(start, self._size):
                done += self._size
                continue
            failures += 1
            if failures == _MAX_FAILURES:
                break
        return done


def _size(root: Path) -> int:
    """Return the bytes of a huge page; 0 if the system has none, or disables them."""
    try:
        if "[never]" in (root / _SETTINGS / "enabled").read_text(encoding="ascii"):
            return 0
        return int((root / _SETTINGS / "hpage_pmd_size").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def _collapse(start: int, size: int) -> bool:
    madvise = getattr(ctypes.CDLL(None), "madvise", None)
    return madvise is not None and madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), _MADV_COLLAPSE) == 0


def _in_use(size: int) -> Iterator[int]:
    """Yield the start of each aligned stretch of that size whose pages are all present."""
    if not size:
        return
    with suppress(OSError), Path("/proc/self/pagemap").open("rb") as pagemap:  # which some systems hide
        for start, end in list(_own_memory()):
            for stretch in range(-(-start // size) * size, end - size + 1, size):
                if _is_present(pagemap, stretch, size):
                    yield stretch


def _own_memory() -> Iterator[tuple[int, int]]:
    """Yield start and end of private memory, without files and stacks."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines():
        ends, access, _, _, inode, *name = line.split(maxsplit=5)
        if access == "rw-p" and inode == "0" and not "".join(name).startswith(("[stack", "[v")):
            start, end = (int(address, 16) for address in ends.split("-"))
            yield start, end


def _is_present(pagemap: BinaryIO, start: int, size: int) -> bool:
    page = os.sysconf("SC_PAGE_SIZE")
    pagemap.seek(start // page * _ENTRY)
    entries = pagemap.read(size // page * _ENTRY)
    return len(entries) == size // page * _ENTRY and min(entries[_ENTRY - 1 :: _ENTRY]) >= 0x80
