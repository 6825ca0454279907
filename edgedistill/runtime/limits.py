"""Limits that a policy sets on sensors: the application's own, and the machine's.

A reading that crosses its limit calls for a lighter subnet, as heat does. While a reading is near its limit, no heavier
subnet is taken. That margin is the hysteresis: without it a reading at its limit would make two subnets alternate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from edgedistill.errors import InputError
from edgedistill.printable import get_logger
from edgedistill.runtime.arguments import is_real
from edgedistill.runtime.sensors import Readings, Sensors, SystemSensors

__all__ = ["LimitReading", "SensorLimit", "UnreadLimits", "check_limits", "check_sensors_of", "read_limits"]

_log = get_logger(__name__)

_MARGIN_SHARE = 0.1  # of the limit
_SHARES = ("other_load", "cpu_pressure", "memory_pressure", "battery_share", "throttled", "on_battery")
_MACHINE = (*_SHARES, "run_queue", "free_mb", "temperature_c", "temperature_limit_c")


@dataclass(frozen=True, slots=True)
class SensorLimit:
    """A bound on a sensor's readings; a lighter subnet serves once a reading crosses it.

    Attributes:
        sensor: a name from ``SystemSensors(extra=...)``, or a numeric field of `Readings` such as "battery_share".
            "throttled" and "on_battery" count as 0 or 1.
        below: the limit that readings cross downwards; None for a limit upwards.
        above: the limit that readings cross upwards; None for a limit downwards.
        margin: how far inside the limit readings must be before a heavier subnet may serve; None for a tenth of the
            limit.
        dwell_s: how long a subnet serves before this limit replaces it: the time that the reading takes to follow.

    Raises:
        InputError: a value is out of its range, or no reading or every reading crosses the limit.
    """

    sensor: str
    below: float | None = None
    above: float | None = None
    margin: float | None = None
    dwell_s: float = 10.0

    def __post_init__(self) -> None:
        if not (isinstance(self.sensor, str) and self.sensor):
            raise InputError(f"sensor is {self.sensor!r}; expected the name of a sensor")
        if self.sensor in ("power_mode", "extra"):
            raise InputError(f"sensor is {self.sensor!r}, which is not a number; expected a sensor that reads numbers")
        if (self.below is None) == (self.above is None):
            raise InputError(
                f"the limit of {self.sensor!r} has {'no' if self.below is None else 'both'} below and above; "
                "expected one of them, so give two limits for two bounds"
            )
        side, bound = ("above", self.above) if self.below is None else ("below", self.below)
        if _finite(bound) is None:
            raise InputError(f"{side} of the limit of {self.sensor!r} is {bound!r}; expected a finite number")
        if self.sensor in _SHARES and not 0 <= self.bound <= 1:
            raise InputError(f"{side} of the limit of {self.sensor!r} is {bound!r}; expected a share from 0 to 1")
        if self.sensor in _SHARES and self.bound == (0 if side == "below" else 1):
            raise InputError(f"{self.sensor!r} {side} {bound:g} never happens; its readings are from 0 to 1")
        for name, value in (("margin", 0.0 if self.margin is None else self.margin), ("dwell_s", self.dwell_s)):
            if _finite(value) is None or value < 0:
                raise InputError(f"{name} of the limit of {self.sensor!r} is {value!r}; expected zero or more")

    @property
    def bound(self) -> float:
        """Return the limit itself."""
        bound = self.above if self.below is None else self.below
        assert bound is not None
        return bound

    @property
    def reentry(self) -> float:
        """Return the reading from which on a heavier subnet may serve again."""
        margin = _MARGIN_SHARE * abs(self.bound) if self.margin is None else self.margin
        return self.bound + (margin if self.above is None else -margin)

    def is_crossed_by(self, value: float, *, bound: float | None = None) -> bool:
        """Return whether the value is on the wrong side of the limit, or of ``bound`` in its place."""
        bound = self.bound if bound is None else bound
        return value < bound if self.above is None else value > bound

    def __str__(self) -> str:
        return f"below {self.below:.6g}" if self.above is None else f"above {self.above:.6g}"


class LimitReading(NamedTuple):
    """A limit, and its sensor's reading at a decision; None without a usable one, which leaves the limit out."""

    limit: SensorLimit
    value: float | None

    @property
    def is_crossed(self) -> bool:
        """Return whether a lighter subnet is needed."""
        return self.value is not None and self.limit.is_crossed_by(self.value)

    @property
    def is_near(self) -> bool:
        """Return whether no heavier subnet may serve."""
        return self.value is not None and self.limit.is_crossed_by(self.value, bound=self.limit.reentry)

    @property
    def verdict(self) -> str:
        """Return what the reading means for the decision."""
        if self.value is None:
            return "left out"
        return "crossed" if self.is_crossed else "near" if self.is_near else "kept"

    def __str__(self) -> str:
        value = "no reading" if self.value is None else f"{self.value:.6g}"
        return f"{self.limit.sensor} {value}, limit {self.limit}"


def check_limits(limits: Any) -> tuple[SensorLimit, ...]:
    """Return a policy's limits as a tuple.

    Raises:
        InputError: they are not `SensorLimit` objects, or two of one sensor leave no reading that keeps both.
    """
    if isinstance(limits, str | bytes) or not isinstance(limits, Iterable):
        raise InputError(f"limits is {limits!r}; expected a sequence of SensorLimit")
    checked = tuple(limits)
    for limit in checked:
        if not isinstance(limit, SensorLimit):
            raise InputError(f"limits holds {limit!r}; expected SensorLimit objects")
    for low in (limit for limit in checked if limit.above is None):
        for high in (limit for limit in checked if limit.below is None and limit.sensor == low.sensor):
            if low.reentry > high.reentry:
                raise InputError(
                    f"the limits of {low.sensor!r} ({low}, {high}, with their margins) leave no reading between them; "
                    "set them further apart"
                )
    return checked


def check_sensors_of(limits: Sequence[SensorLimit], sensors: Sensors | None) -> None:
    """Check that the sensors (None: this machine's) include those that the limits name.

    What a class of the application's reads is unknown until it is read.

    Raises:
        InputError: one is missing.
    """
    if not (sensors is None or isinstance(sensors, SystemSensors)):
        return
    names = () if sensors is None else sensors.extra_names
    for limit in limits:
        if limit.sensor not in (*_MACHINE, *names):
            own = ", ".join(names) or "none"
            raise InputError(
                f"a limit names the sensor {limit.sensor!r}, which does not exist (own sensors: {own}); "
                f"give it with sensors=SystemSensors(extra={{{limit.sensor!r}: function}})"
            )


def read_limits(limits: Sequence[SensorLimit], readings: Readings) -> tuple[LimitReading, ...]:
    """Return each limit with its sensor's reading."""
    return tuple(LimitReading(limit, _finite(_raw(readings, limit.sensor))) for limit in limits)


class UnreadLimits:
    """Log, once per sensor, that its limit is skipped without a usable reading."""

    def __init__(self, limits: Sequence[SensorLimit], sensors: Sensors) -> None:
        # `SystemSensors` itself logs why one of the application's sensors has no reading.
        is_reported = isinstance(sensors, SystemSensors)
        self._unlogged = {limit.sensor for limit in limits if not is_reported or limit.sensor in _MACHINE}

    def look(self, readings: Readings) -> None:
        """Log the sensors that are without a usable reading for the first time."""
        for sensor in sorted(self._unlogged):
            raw = _raw(readings, sensor)
            if _finite(raw) is None:
                self._unlogged.remove(sensor)
                problem = "has no reading" if raw is None else f"reads {raw!r}, which is not a finite number"
                _log.warning("the sensor %s %s: its limit is left out while that lasts", sensor, problem)


def _raw(readings: Readings, sensor: str) -> Any:
    """Return the reading as it is, None without one."""
    if sensor not in _MACHINE:
        return readings.extra.get(sensor)
    value = getattr(readings, sensor)
    return float(value) if isinstance(value, bool) else value


def _finite(value: Any) -> float | None:
    """Return the value as a float; None if it is not a finite number."""
    try:
        number = float(value) if is_real(value) else math.nan
    except OverflowError:  # a whole number beyond every float
        return None
    return number if math.isfinite(number) else None
