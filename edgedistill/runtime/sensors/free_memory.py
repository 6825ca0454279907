"""Measure the memory that this process can still allocate."""

from __future__ import annotations

import mmap
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil

from edgedistill.runtime.cgroup import least_left_bytes, limiting_folders
from edgedistill.runtime.kernel_files import read_text
from edgedistill.runtime.sensors.cached_value import CachedValue

__all__ = ["MemorySensor", "free_memory_mb"]

_AVAILABLE = re.compile(r"^MemAvailable: +(\d+) kB$", re.MULTILINE)
_LIMIT = re.compile(r"^Max (address space|data size) +(\d+) ", re.MULTILINE)


class _OwnLimits(NamedTuple):
    """Hold ``ulimit -v`` and ``ulimit -d``, in bytes; None for unlimited."""

    address_space: int | None
    data: int | None


class MemorySensor:
    """Measure the least of what the host has available and what limits of control groups and the process leave."""

    def __init__(self, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self._meminfo = root / "proc/meminfo"
        self._statm = root / "proc/self/statm"
        self._folders = CachedValue(partial(limiting_folders, root), clock)
        self._limits = CachedValue(partial(_own_limits, root / "proc/self/limits"), clock)

    def read(self) -> float:
        """Return the free memory in 10⁶ bytes."""
        left = _available_bytes(self._meminfo), least_left_bytes(self._folders()), self._own_left_bytes()
        return min(size for size in left if size is not None) / 1e6

    def _own_left_bytes(self) -> int | None:
        limits = self._limits()
        if limits == (None, None):
            return None
        pages = (read_text(self._statm) or "").split()
        if len(pages) < 6:
            return None
        # The kernel's data size includes the stack: so the result is a little less than the limit leaves.
        used = (int(pages[index]) * mmap.PAGESIZE for index in (0, 5))
        return min(max(0, limit - size) for limit, size in zip(limits, used, strict=True) if limit is not None)


def free_memory_mb(root: Path = Path("/")) -> float:
    """Return one reading of `MemorySensor`, in 10⁶ bytes."""
    return MemorySensor(root).read()


def _available_bytes(meminfo: Path) -> int:
    match = _AVAILABLE.search(read_text(meminfo) or "")
    if match is None:  # not Linux, or older than 3.14
        available: int = psutil.virtual_memory().available
        return available
    return int(match[1]) * 1024


def _own_limits(path: Path) -> _OwnLimits:
    limits = dict(_LIMIT.findall(read_text(path) or ""))
    address_space, data = limits.get("address space"), limits.get("data size")
    return _OwnLimits(address_space and int(address_space), data and int(data))
