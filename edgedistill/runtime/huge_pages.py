"""Weights in huge pages: a processor that reads all of them for one token spends less time looking up where they are.

Most systems give huge pages only to memory for which they were asked; onnxruntime does not ask. Linux from 6.1 on moves
what is there already. SmolLM-135M's single tokens took 0.89 of the time with weights of four bits, 0.86 in fp32
(`benchmarks/generation_speed.py`); long inputs gain next to nothing, as they read the weights once for many tokens.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["use_huge_pages"]

_SETTINGS = "sys/kernel/mm/transparent_hugepage"
_MADV_COLLAPSE = 25
_ENTRY = 8  # bytes of a page in pagemap, little-endian; the highest bit: it is present
_MOST_FAILURES = 3  # no memory to spare: more tries would take time for nothing


def use_huge_pages(root: Path = Path("/")) -> int:
    """Move this process' own memory to huge pages where all of one is in use, so that it takes no more than before.

    Returns bytes now in huge pages, those of before among them; 0 where the system has none, or is told to give none.
    """
    try:
        if "[never]" in (root / _SETTINGS / "enabled").read_text(encoding="ascii"):
            return 0
        size = int((root / _SETTINGS / "hpage_pmd_size").read_text(encoding="ascii"))
        collapse = ctypes.CDLL(None, use_errno=True).madvise
    except (OSError, ValueError, AttributeError):
        return 0
    done = failures = 0
    with suppress(OSError):  # a system that hides a process' memory from itself
        for start in _in_use(size):
            if collapse(ctypes.c_void_p(start), ctypes.c_size_t(size), _MADV_COLLAPSE) == 0:
                done += size
                continue
            failures += 1
            if ctypes.get_errno() == errno.EINVAL or failures == _MOST_FAILURES:
                break
    return done


def _in_use(size: int) -> Iterator[int]:
    """Where stretches of that size begin that could be one page, and of which every page is present."""
    with Path("/proc/self/pagemap").open("rb") as pagemap:
        for start, end in list(_own_memory()):
            for stretch in range(-(-start // size) * size, end - size + 1, size):
                if _is_present(pagemap, stretch, size):
                    yield stretch


def _own_memory() -> Iterator[tuple[int, int]]:
    """The ends of memory that is no file's, nobody else's and no stack."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        ends, access, _, _, inode, *name = line.split(maxsplit=5)
        if access == "rw-p" and inode == "0" and not "".join(name).startswith(("[stack", "[v")):
            start, end = (int(of, 16) for of in ends.split("-"))
            yield start, end


def _is_present(pagemap: BinaryIO, start: int, size: int) -> bool:
    page = os.sysconf("SC_PAGE_SIZE")
    pagemap.seek(start // page * _ENTRY)
    entries = pagemap.read(size // page * _ENTRY)
    return len(entries) == size // page * _ENTRY and min(entries[_ENTRY - 1 :: _ENTRY]) >= 0x80
