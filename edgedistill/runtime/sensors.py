"""What the machine tells of itself: small sensors, each optional, None for no reading."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import psutil

from edgedistill.runtime.cgroup import memory_left_bytes
from edgedistill.runtime.onnx import usable_cores

__all__ = ["CpuSensor", "Readings", "Sensors", "SystemSensors", "free_memory_mb"]

_log = logging.getLogger(__name__)
_Value = TypeVar("_Value")

# The kernel counts in ticks of 10 ms: a shorter interval says little.
_SHORTEST_S = 0.05


@dataclass(frozen=True, slots=True)
class Readings:
    """One look at the machine.

    Attributes:
        other_load: share of the usable cores that other processes take, 0 to 1.
        free_mb: memory that can still be had, in 10⁶ bytes.
    """

    other_load: float | None = None
    free_mb: float | None = None


class Sensors(Protocol):
    """Whatever can be read: the machine, or a script in a test."""

    def read(self) -> Readings:
        """The state of the machine now."""


class SystemSensors:
    """This machine's own sensors. One that fails gives None from then on and is logged once."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._cpu = CpuSensor(usable_cores(root))
        self._failed: set[str] = set()

    def read(self) -> Readings:
        """The state of the machine now; CPU load is over the time since the last call."""
        return Readings(
            other_load=self._guarded("CPU load", self._cpu.read),
            free_mb=self._guarded("free memory", lambda: free_memory_mb(self._root)),
        )

    def _guarded(self, name: str, sensor: Callable[[], _Value]) -> _Value | None:
        try:
            return sensor()
        except Exception as error:  # noqa: BLE001 (no sensor may stop the answers)
            if name not in self._failed:
                self._failed.add(name)
                _log.warning("no reading of %s: %s", name, error)
            return None


class _CpuTimes(NamedTuple):
    """Seconds of CPU since some start: of all cores, how much of it busy, how much of that ours."""

    total: float
    busy: float
    own: float


class CpuSensor:
    """CPU load caused by others, as a share of the ``usable`` cores."""

    def __init__(self, usable: int) -> None:
        self._usable = usable
        self._last = _cpu_times()
        self._load: float | None = None

    def read(self) -> float | None:
        """Share 0 to 1 since the last call; the last share when that was a moment ago, None before any."""
        now = _cpu_times()
        cores = psutil.cpu_count() or 1
        if now.total - self._last.total < _SHORTEST_S * cores:
            return self._load
        total, busy, own = (b - a for a, b in zip(self._last, now, strict=True))
        self._last = now
        left_by_others = cores * (1 - (busy - own) / total)
        self._load = min(1.0, max(0.0, 1 - left_by_others / self._usable))
        return self._load


def _cpu_times() -> _CpuTimes:
    machine = psutil.cpu_times()._asdict()
    own = psutil.Process().cpu_times()
    # Guests' time is part of user time already.
    total = sum(seconds for name, seconds in machine.items() if not name.startswith("guest"))
    idle = machine["idle"] + machine.get("iowait", 0.0)
    return _CpuTimes(total, total - idle, own.user + own.system)


def free_memory_mb(root: Path = Path("/")) -> float:
    """The least of what the host has available and what the control groups' limits leave, in 10⁶ bytes."""
    available: int = psutil.virtual_memory().available
    left = memory_left_bytes(root)
    return (available if left is None else min(available, left)) / 1e6
