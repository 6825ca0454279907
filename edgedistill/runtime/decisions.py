"""Record decisions and their reasons, for people and for applications that listen."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from edgedistill.printable import get_logger
from edgedistill.runtime.control.decide import Expected, Reason
from edgedistill.runtime.limits import LimitReading
from edgedistill.runtime.predict.slowdown import Estimate
from edgedistill.runtime.sensors import Readings

__all__ = ["DecisionRecord", "Decisions"]

_log = get_logger(__name__)

_REMEMBERED = 256
_WARNED_EVERY_S = 600.0  # a device that is overloaded for days must not fill its log
_NO_READINGS = Readings()


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """Hold a decision, and the state that it was based on.

    Attributes:
        at_s: the time on the session's clock.
        subnet: the subnet that was chosen, or for a failure the one that failed.
        reason: the reason.
        readings: the machine's readings at that time.
        slowdown: observed over expected latency; None without recent requests.
        expected: the forecast of each subnet, preferred ones last; empty if none were compared.
        limits: the policy's limits on sensors, each with its reading.
    """

    at_s: float
    subnet: str
    reason: Reason
    readings: Readings = _NO_READINGS
    slowdown: Estimate | None = None
    expected: tuple[Expected, ...] = ()
    limits: tuple[LimitReading, ...] = ()

    def __str__(self) -> str:
        crossed = "; ".join(str(reading) for reading in self.limits if reading.is_crossed)
        lines = [f"{self.subnet}: {self.reason}" + (f" ({crossed})" if crossed else "")]
        if self.slowdown is not None:
            lines += [f"requests take {self.slowdown.usual:.2f} times what was profiled"]
        for forecast in reversed(self.expected):
            latency = "unknown" if forecast.p95_ms is None else f"{forecast.p95_ms:.1f} ms"
            verdict = "fits" if forecast.misfit is None else forecast.misfit
            first = "" if forecast.first_token_ms is None else f", first token {forecast.first_token_ms:.1f} ms"
            lines += [f"  {forecast.subnet}: p95 {latency}{first}, {forecast.memory_mb:.0f} MB: {verdict}"]
        lines += [f"  {reading}: {reading.verdict}" for reading in self.limits]
        return "\n".join(lines)


class Decisions:
    """List the latest decisions, without repetitions.

    ``listener`` is called with each listed decision, in the deciding thread; what it raises is logged.
    """

    def __init__(self, listener: Callable[[DecisionRecord], None] | None = None) -> None:
        self._listener = listener
        self._warned_s = -math.inf
        self._listed: deque[DecisionRecord] = deque(maxlen=_REMEMBERED)
        self.latest: DecisionRecord | None = None

    @property
    def listed(self) -> tuple[DecisionRecord, ...]:
        """Return the listed decisions, newest last."""
        return tuple(self._listed)

    def add(self, record: DecisionRecord) -> None:
        """Add a decision."""
        self.latest = record
        last = self._listed[-1] if self._listed else None
        if last is not None and (last.subnet, last.reason) == (record.subnet, record.reason):
            return
        self._listed.append(record)
        if record.reason is Reason.NO_FIT_SMALLEST and record.at_s - self._warned_s >= _WARNED_EVERY_S:
            self._warned_s = record.at_s
            _log.warning("no subnet meets the budgets: the smallest, %s, serves", record.subnet)
        if self._listener is not None:
            self._notify(self._listener, record)

    def _notify(self, listener: Callable[[DecisionRecord], None], record: DecisionRecord) -> None:
        try:
            listener(record)
        except BaseException:  # noqa: BLE001 (the application's; not even an exit may stop the swaps)
            _log.exception("the listener of decisions failed")
