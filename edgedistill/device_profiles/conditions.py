"""Record the conditions under which a profile is measured: other load, temperature, clock, throttling."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path

import psutil

from edgedistill.palette import Conditions
from edgedistill.runtime.kernel_files import read_number
from edgedistill.runtime.sensors.thermal import ThermalSensor
from edgedistill.runtime.sensors.throttling import ThrottlingSensor

__all__ = ["OtherLoad", "ProcessorWatch", "measured_conditions"]

_QUIET_BELOW = 0.1  # share of all cores that others may use


class OtherLoad:
    """Measure how much CPU time other processes have used since this object was created."""

    def __init__(self) -> None:
        self._wall_s, self._busy_s = time.perf_counter(), _busy_s()

    def since_start(self, our_cpu_s: float) -> tuple[float, float]:
        """Return the CPU seconds of other processes, and those that all cores had available."""
        available_s = (time.perf_counter() - self._wall_s) * (psutil.cpu_count() or 1)
        return max(0.0, _busy_s() - self._busy_s - our_cpu_s), available_s


def _busy_s() -> float:
    times = psutil.cpu_times()
    # A guest's time is counted in its host's user time as well.
    idle = times.idle + times.iowait + times.guest + times.guest_nice
    return float(sum(times) - idle)


class ProcessorWatch:
    """Keep the first and the latest sample of the processor under load."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._thermal, self._throttling = ThermalSensor(root), ThrottlingSensor(root)
        self._throttling.read()  # what is counted, counts from here
        self.temperatures_c: list[float] = []
        self.clocks_mhz: list[float] = []
        self.throttled: bool | None = None

    def look(self) -> None:
        """Take a sample; call it during a measurement, since an idle processor lowers its clock."""
        for samples, value in (
            (self.temperatures_c, self._thermal.read().now_c),
            (self.clocks_mhz, _clock_mhz(self._root)),
        ):
            if value is not None:
                samples[1:] = [round(value, 1)]
        throttled = self._throttling.read()
        if throttled is not None:
            self.throttled = throttled or bool(self.throttled)


def _clock_mhz(root: Path) -> float | None:
    """Return the clock of the core that is fastest now: the one that works."""
    files = root.glob("sys/devices/system/cpu/cpufreq/policy*/scaling_cur_freq")
    khz = [value for file in files if (value := read_number(file)) is not None]
    return max(khz) / 1e3 if khz else None


def measured_conditions(
    threads: int, watch: ProcessorWatch, seconds: Iterable[tuple[float, float]], kept_pace: float
) -> Conditions:
    """Return the conditions of a profile.

    ``seconds``: for each part, the CPU seconds of other processes, and those available. ``kept_pace``: the full-speed
    share, of timed runs at the processor's full speed.
    """
    parts = list(seconds)
    available_s = sum(available for _, available in parts)
    other_load = min(1.0, sum(used for used, _ in parts) / available_s) if available_s else 0.0
    return Conditions(
        threads=threads,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        quiet=other_load < _QUIET_BELOW,
        other_load=round(other_load, 4),
        kept_pace=round(kept_pace, 4),
        temperature_c=_ends(watch.temperatures_c),
        clock_mhz=_ends(watch.clocks_mhz),
        throttled=watch.throttled,
    )


def _ends(values: Sequence[float]) -> tuple[float, float] | None:
    return (values[0], values[-1]) if values else None
