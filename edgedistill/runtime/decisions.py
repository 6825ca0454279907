"""What was decided and why, for people and for applications that want to be told."""

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
_WARNED_EVERY_S = 600.0  # a device that is overtaxed for days must not fill its log
_NO_READINGS = Readings()


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A decision, and what it rested on.

    Attributes:
        at_s: when, on the session's clock.
        subnet: which subnet is to serve (where something failed: which one it was).
        reason: why.
        readings: the machine at that moment.
        slowdown: observed over expected latency; None without recent requests.
        expected: what was expected of each subnet, the preferred ones last; empty where none were compared.
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
        for of in reversed(self.expected):
            latency = "unknown" if of.p95_ms is None else f"{of.p95_ms:.1f} ms"
            verdict = "fits" if of.misfit is None else of.misfit
            first = "" if of.first_token_ms is None else f", first token {of.first_token_ms:.1f} ms"
            lines += [f"  {of.subnet}: p95 {latency}{first}, {of.memory_mb:.0f} MB: {verdict}"]
        lines += [f"  {reading}: {reading.verdict}" for reading in self.limits]
        return "\n".join(lines)


class Decisions:
    """The last ones; one that repeats the one before it is not listed again.

    ``listener`` is told of each that is listed, in the thread that decides; what it raises is logged.
    """

    def __init__(self, listener: Callable[[DecisionRecord], None] | None = None) -> None:
        self._listener = listener
        self._warned_s = -math.inf
        self._listed: deque[DecisionRecord] = deque(maxlen=_REMEMBERED)
        self.latest: DecisionRecord | None = None

    @property
    def listed(self) -> tuple[DecisionRecord, ...]:
        """Newest last."""
        return tuple(self._listed)

    def add(self, record: DecisionRecord) -> None:
        """One more."""
        self.latest = record
        last = self._listed[-1] if self._listed else None
        if last is not None and (last.subnet, last.reason) == (record.subnet, record.reason):
            return
        self._listed.append(record)
        if record.reason is Reason.NO_FIT_SMALLEST and record.at_s - self._warned_s >= _WARNED_EVERY_S:
            self._warned_s = record.at_s
            _log.warning("no subnet meets the budgets: the smallest, %s, serves", record.subnet)
        if self._listener is not None:
            self._tell(self._listener, record)

    def _tell(self, listener: Callable[[DecisionRecord], None], record: DecisionRecord) -> None:
        try:
            listener(record)
        except BaseException:  # noqa: BLE001 (the application's; not even an exit may stop the swaps)
            _log.exception("the listener of decisions failed")
