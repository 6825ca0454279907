"""Read the limits of the control groups around this process, version 1 or 2.

Containers limit CPU and memory there, while the usual counters still show the whole host. The limits of all ancestors
apply too, so each function walks from the process's group up to the mount. ``root`` stands for "/" everywhere, so that
a copied tree can be read as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from edgedistill.runtime.kernel_files import read_number, read_text, to_number

__all__ = [
    "cpu_quota",
    "least_left_bytes",
    "limiting_folders",
    "memory_left_bytes",
    "memory_limit_bytes",
    "unified_folders",
]

# Version 1 expresses "no limit" by a number close to 2⁶³.
_NO_LIMIT_BYTES = 1 << 60

# Page cache that is dropped next. Version 1 includes the children's under the longer name.
_INACTIVE = [re.compile(rf"^{name} (\d+)$", re.MULTILINE) for name in ("total_inactive_file", "inactive_file")]


def cpu_quota(root: Path) -> float | None:
    """Return how many cores' worth of time the process may use; None without a limit."""
    return min((q for folder in _groups(root, "cpu") if (q := _quota(folder)) is not None), default=None)


def memory_limit_bytes(root: Path) -> int | None:
    """Return the lowest memory limit around the process; None without one."""
    return min((m for folder in _groups(root, "memory") if (m := _limit(folder)) is not None), default=None)


def memory_left_bytes(root: Path) -> int | None:
    """Return what the tightest limit leaves: the limit less usage, without droppable page cache."""
    return least_left_bytes(limiting_folders(root))


def limiting_folders(root: Path) -> list[Path]:
    """Return the groups around the process that limit its memory, for repeated calls of `least_left_bytes`."""
    return [folder for folder in _groups(root, "memory") if _limit(folder) is not None]


def least_left_bytes(folders: Iterable[Path]) -> int | None:
    """Return what the tightest of these groups leaves of its limit; None if none has a limit."""
    return min((m for folder in folders if (m := _left(folder)) is not None), default=None)


def unified_folders(root: Path) -> list[Path]:
    """Return the process's group of version 2 and its visible ancestors; an empty list without version 2."""
    path = next((path for controllers, path in _memberships(root) if not controllers), None)
    return [] if path is None else _upwards(_unified_mount(root), path)


def _groups(root: Path, controller: str) -> list[Path]:
    """Return the process's group for ``controller`` and its visible ancestors."""
    for controllers, path in _memberships(root):
        if controller in controllers.split(","):
            return _upwards(root / "sys/fs/cgroup" / controller, path)
    return unified_folders(root)


def _memberships(root: Path) -> list[tuple[str, str]]:
    """Return, for each hierarchy, its controllers (empty: version 2) and the path of the process's group."""
    fields = (line.split(":", 2) for line in (read_text(root / "proc/self/cgroup") or "").splitlines())
    return [(line[1], line[2]) for line in fields if len(line) == 3]


def _unified_mount(root: Path) -> Path:
    """Return where version 2 is mounted; next to version 1 it has a folder of its own."""
    mount = root / "sys/fs/cgroup"
    hybrid = mount / "unified"
    return hybrid if hybrid.is_dir() else mount


def _upwards(mount: Path, path: str) -> list[Path]:
    parts = [part for part in path.split("/") if part]
    folders = [mount.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]
    # A container may see the host's path but only its own group, or one outside of its namespace ("..").
    return [folder for folder in folders if ".." not in folder.parts and folder.is_dir()]


def _quota(folder: Path) -> float | None:
    v2 = (read_text(folder / "cpu.max") or "").split()
    if len(v2) == 2:
        quota, period = to_number(v2[0]), to_number(v2[1])
    else:
        quota, period = read_number(folder / "cpu.cfs_quota_us"), read_number(folder / "cpu.cfs_period_us")
    # Version 1 writes -1 for no limit.
    return quota / period if quota and period and quota > 0 else None


def _limit(folder: Path) -> int | None:
    names = ("memory.max", "memory.high", "memory.limit_in_bytes")
    limit = min((n for name in names if (n := read_number(folder / name)) is not None), default=_NO_LIMIT_BYTES)
    return limit if limit < _NO_LIMIT_BYTES else None


def _left(folder: Path) -> int | None:
    limit = _limit(folder)
    used = read_number(folder / "memory.current")
    if used is None:
        used = read_number(folder / "memory.usage_in_bytes")
    if limit is None or used is None:
        return None
    return max(0, limit - (used - _inactive_file(folder)))


def _inactive_file(folder: Path) -> int:
    stat = read_text(folder / "memory.stat") or ""
    return next((int(match[1]) for pattern in _INACTIVE if (match := pattern.search(stat))), 0)
