"""The limits of the control groups around this process, version 1 or 2.

Containers limit CPU and memory there while the usual counters go on telling of the whole host. The
limits of every ancestor apply too, so each question walks from the process's group up to the mount.
``root`` stands for "/" everywhere, so that a copied tree can be read as well.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["cpu_quota", "memory_left_bytes", "memory_limit_bytes"]


def cpu_quota(root: Path) -> float | None:
    """How many cores' worth of time the process may use; None where nothing limits it."""
    return min((q for folder in _groups(root, "cpu") if (q := _quota(folder)) is not None), default=None)


def memory_limit_bytes(root: Path) -> int | None:
    """The least memory limit around the process; None where nothing limits it."""
    return min((m for folder in _groups(root, "memory") if (m := _limit(folder)) is not None), default=None)


def memory_left_bytes(root: Path) -> int | None:
    """What the tightest limit leaves: the limit less usage, page cache that can be dropped not counted as used."""
    return min((m for folder in _groups(root, "memory") if (m := _left(folder)) is not None), default=None)


def _groups(root: Path, controller: str) -> list[Path]:
    """The process's group for ``controller`` and its ancestors, as far as they can be seen from here."""
    mount = root / "sys/fs/cgroup"
    unified = None
    fields = (line.split(":", 2) for line in (_text(root / "proc/self/cgroup") or "").splitlines())
    for controllers, path in (line[1:] for line in fields if len(line) == 3):
        if controller in controllers.split(","):
            return _upwards(mount / controller, path)
        if not controllers:
            unified = path
    return [] if unified is None else _upwards(mount, unified)


def _upwards(mount: Path, path: str) -> list[Path]:
    parts = [part for part in path.split("/") if part]
    folders = [mount.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]
    # A container may see the host's path but only its own group, or one outside of its namespace ("..").
    return [folder for folder in folders if ".." not in folder.parts and folder.is_dir()]


def _quota(folder: Path) -> float | None:
    v2 = (_text(folder / "cpu.max") or "").split()
    if len(v2) == 2:
        quota, period = _number(v2[0]), _number(v2[1])
    else:
        quota, period = _file_number(folder / "cpu.cfs_quota_us"), _file_number(folder / "cpu.cfs_period_us")
    # Version 1 says -1 for no limit.
    return quota / period if quota and period and quota > 0 else None


def _limit(folder: Path) -> int | None:
    names = ("memory.max", "memory.high", "memory.limit_in_bytes")
    return min((n for name in names if (n := _file_number(folder / name)) is not None), default=None)


def _left(folder: Path) -> int | None:
    limit = _limit(folder)
    used = _file_number(folder / "memory.current")
    if used is None:
        used = _file_number(folder / "memory.usage_in_bytes")
    if limit is None or used is None:
        return None
    return max(0, limit - (used - _inactive_file(folder)))


def _inactive_file(folder: Path) -> int:
    """Bytes of page cache next to be dropped; version 1 has the figure with the children's under another name."""
    pairs = (line.split() for line in (_text(folder / "memory.stat") or "").splitlines())
    stat = {pair[0]: _number(pair[1]) for pair in pairs if len(pair) == 2}
    return stat.get("total_inactive_file") or stat.get("inactive_file") or 0


def _file_number(path: Path) -> int | None:
    text = _text(path)
    return None if text is None else _number(text.strip())


def _number(text: str) -> int | None:
    """An integer; None for "max" and anything else."""
    try:
        return int(text)
    except ValueError:
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
