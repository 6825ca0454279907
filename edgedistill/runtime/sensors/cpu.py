"""Measure the CPU load of other processes, and the length of the run queue."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil

from edgedistill.runtime.kernel_files import read_match, read_text
from edgedistill.runtime.sensors.cached_value import CachedValue

__all__ = ["CpuSensor", "RunQueueSensor"]

# The kernel counts in ticks of 10 ms: a shorter interval is mostly rounding.
_MIN_INTERVAL_S = 0.05
# Reading the state of one thread costs about 10 µs.
_MAX_THREADS_READ = 16

# user, nice, system, idle, iowait, irq, softirq, steal; the guest time after them is part of user time already.
_TICKS = re.compile(r"^cpu +((?:\d+ ){8})")
_RUNNING = re.compile(r" (\d+)/\d+ ")


class _CpuTimes(NamedTuple):
    """Hold the number of cores, and CPU seconds since some start: in total, busy, and of this process."""

    cores: int
    total: float
    busy: float
    own: float


class CpuSensor:
    """Measure the CPU load of other processes, as a share of the ``usable`` cores."""

    def __init__(self, usable: int, root: Path = Path("/")) -> None:
        self._usable = usable
        self._stat = root / "proc/stat"
        self._last: _CpuTimes | None = None
        self._load: float | None = None

    def read(self) -> float | None:
        """Return the share, 0 to 1, since the last call: the previous one within 50 ms, None before the first."""
        now = _cpu_times(self._stat)
        if self._last is None:
            self._last = now
        total, busy, own = (b - a for a, b in zip(self._last[1:], now[1:], strict=True))
        if total < _MIN_INTERVAL_S * now.cores:
            return self._load
        self._last = now
        usable = min(self._usable, now.cores)  # a power mode may have switched cores off
        left_by_others = now.cores * (1 - (busy - own) / total)
        self._load = min(1.0, max(0.0, 1 - left_by_others / usable))
        return self._load


def _cpu_times(stat: Path) -> _CpuTimes:
    match = read_match(stat, _TICKS)
    if match is None:
        return _cpu_times_elsewhere()
    ticks = [int(number) for number in match[1].split()]
    total_s, idle_s = (sum(part) / os.sysconf("SC_CLK_TCK") for part in (ticks, ticks[3:5]))
    return _CpuTimes(match.string.count("\ncpu"), total_s, total_s - idle_s, time.process_time())


def _cpu_times_elsewhere() -> _CpuTimes:
    """Return psutil's figures, on systems without /proc."""
    machine = psutil.cpu_times()._asdict()
    total_s = sum(seconds for name, seconds in machine.items() if not name.startswith("guest"))
    idle_s = machine["idle"] + machine.get("iowait", 0.0)
    return _CpuTimes(psutil.cpu_count() or 1, total_s, total_s - idle_s, time.process_time())


class RunQueueSensor:
    """Count other processes' tasks that run or wait for a core, per ``usable`` core.

    Other processes are assumed to use first the cores that this process may not.
    """

    def __init__(self, usable: int, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self._usable = usable
        self._loadavg = root / "proc/loadavg"
        self._tasks = root / "proc/self/task"
        self._online = CachedValue(lambda: _online_cores(root / "sys/devices/system/cpu/online"), clock)

    def read(self) -> float | None:
        """Return the tasks per core now."""
        match = read_match(self._loadavg, _RUNNING)
        if match is None:
            return None
        others = int(match[1]) - _own_running(self._tasks)
        elsewhere = max(0, self._online() - self._usable)
        return max(0, others - elsewhere) / self._usable


def _online_cores(path: Path) -> int:
    """Count the cores in a list such as "0-3,6"."""
    text = read_text(path)
    if text is None:
        return os.cpu_count() or 1
    spans = [span.split("-") for span in text.split(",")]
    return sum(int(span[-1]) - int(span[0]) + 1 for span in spans)


def _own_running(tasks: Path) -> int:
    """Count the threads of this process that run or wait for a core; with many threads, only the caller."""
    try:
        count = tasks.stat().st_nlink - 2
    except OSError:
        return 0
    if count > _MAX_THREADS_READ:
        return 1
    with os.scandir(tasks) as threads:
        return sum(_runs(read_text(f"{thread.path}/stat")) for thread in threads)


def _runs(stat: str | None) -> bool:
    """Return whether a thread's state, after its name in brackets, is R; the thread may have ended."""
    return stat is not None and stat[stat.rfind(")") + 2 :].startswith("R")
