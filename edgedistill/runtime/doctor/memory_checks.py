"""Check the free memory, its limits, and whether limits can be set."""

from __future__ import annotations

import re
from pathlib import Path

import psutil

from edgedistill.runtime.cgroup import limiting_folders, memory_left_bytes, memory_limit_bytes
from edgedistill.runtime.control.decide import Policy
from edgedistill.runtime.doctor.finding import Finding, boot_option
from edgedistill.runtime.kernel_files import read_text
from edgedistill.runtime.sensors import free_memory_mb

__all__ = ["limit", "limitable", "memory", "swap"]

_LINE = re.compile(r"^(\w+): +(\d+) kB$", re.MULTILINE)


def memory(root: Path) -> Finding:
    """Check free memory as the runtime counts it: the least that the host, control groups and ``ulimit`` leave."""
    free_mb, reserve_mb = free_memory_mb(root), Policy().reserve_mb
    total = _meminfo(root).get("MemTotal", psutil.virtual_memory().total)
    summary = f"{free_mb:,.0f} MB free for this process; the machine has {total / 1e6:,.0f}"
    if free_mb > reserve_mb:
        return Finding("ok", summary)
    fix = "ps -eo rss,args --sort=-rss | head shows what takes it: stop what is not needed"
    if limiting_folders(root):
        fix = "raise the limit: MemoryMax= in the systemd unit, or docker run --memory"
    return Finding(
        "note", f"{summary}; {reserve_mb:.0f} MB are left to others, so only the smallest subnet serves", fix
    )


def limit(root: Path) -> Finding:
    """Report the limit of control groups, and what it leaves."""
    limit_bytes, left_bytes = memory_limit_bytes(root), memory_left_bytes(root)
    if limit_bytes is None:
        return Finding("ok", "no control group limits this process")
    left = "" if left_bytes is None else f", {left_bytes / 1e6:,.0f} of them left"
    return Finding("ok", f"{limit_bytes / 1e6:,.0f} MB by its control group{left}; the runtime keeps within")


def limitable(root: Path) -> Finding:
    """Check that control groups can limit memory; a Raspberry Pi's firmware disables that."""
    words = (read_text(root / "proc/cmdline") or "").split()
    is_off = any(word.startswith("cgroup_disable=") and "memory" in word for word in words)
    controllers = (read_text(root / "sys/fs/cgroup/cgroup.controllers") or "").split()
    if not is_off or "cgroup_enable=memory" in words or "memory" in controllers:
        return Finding("ok", "control groups can limit memory")
    summary = (
        "switched off on the kernel's command line: MemoryMax= of a service and a container's limit have no effect"
    )
    return Finding("note", summary, boot_option(root, "cgroup_enable=memory"))


def swap(root: Path) -> Finding:
    """Report the size and use of swap, which the runtime does not count as memory."""
    sizes = _meminfo(root)
    total, free = sizes.get("SwapTotal", 0), sizes.get("SwapFree", 0)
    if not total:
        return Finding("ok", "none")
    return Finding("ok", f"{(total - free) / 1e6:,.0f} of {total / 1e6:,.0f} MB in use; not counted as free memory")


def _meminfo(root: Path) -> dict[str, int]:
    """Return the figures of /proc/meminfo in bytes, by name."""
    return {name: int(kb) * 1024 for name, kb in _LINE.findall(read_text(root / "proc/meminfo") or "")}
