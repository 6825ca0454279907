"""Observe the machine by its sensors, and the latencies of requests."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from edgedistill.printable import get_logger
from edgedistill.runtime.control.decide import Policy
from edgedistill.runtime.limits import UnreadLimits
from edgedistill.runtime.predict.candidates import predicted_p95_ms
from edgedistill.runtime.predict.drift import Drift
from edgedistill.runtime.predict.heat import HeatTrend
from edgedistill.runtime.predict.slowdown import Size, Slowdown
from edgedistill.runtime.sensors import Readings, Sensors
from edgedistill.runtime.sessions import LoadedSubnet
from edgedistill.runtime.source import Source

__all__ = ["Observation", "Observations", "Observer", "RateLimitedLog"]

_log = get_logger(__name__)

_TOKEN = Size(1, 1)
_MAX_OBSERVATIONS = 64  # more between two steps add work, not information
_LATE = 3  # requests over the budget in a row; as many surprising ones are a new state of the machine
_LOGGED_EVERY_S = 600.0  # what fails at every step must not fill the log


class Observation(NamedTuple):
    """Hold one request's end time, subnet, size and latency."""

    at_s: float
    subnet: LoadedSubnet
    size: Size
    latency_ms: float


class Observations:
    """Queue the latest observations; any thread adds, one takes.

    Single tokens have a queue of their own: a text has many, which would crowd out its prompt. Several requests over
    the budget in a row call ``wake``, so that the controller need not wait for its interval.
    """

    def __init__(self, budget_ms: float | None, wake: Callable[[], None]) -> None:
        self._budget_ms = math.inf if budget_ms is None else budget_ms
        self._wake = wake
        self._late = 0  # in a row
        self._tokens: deque[tuple[float, LoadedSubnet, tuple[int, int], float]] = deque(maxlen=_MAX_OBSERVATIONS)
        self._others: deque[tuple[float, LoadedSubnet, tuple[int, int], float]] = deque(maxlen=_MAX_OBSERVATIONS)

    def add(self, at_s: float, subnet: LoadedSubnet, size: tuple[int, int], latency_ms: float) -> None:
        """Add an observation; `take` makes its size a `Size`, outside of the request's time."""
        (self._tokens if size == _TOKEN else self._others).append((at_s, subnet, size, latency_ms))
        if latency_ms <= self._budget_ms:
            self._late = 0
        else:
            self._late += 1
            if self._late == _LATE:  # once: if no step can help, requests stay late
                self._wake()

    def take(self) -> list[Observation]:
        """Return all present observations, oldest first, without those that arrive meanwhile."""
        raw = [queue.popleft() for queue in (self._tokens, self._others) for _ in range(len(queue))]
        observations = (Observation(at_s, subnet, Size(*size), latency_ms) for at_s, subnet, size, latency_ms in raw)
        return sorted(observations, key=lambda observation: observation.at_s)

    def clear(self) -> None:
        """Forget all observations."""
        self._tokens.clear()
        self._others.clear()


class RateLimitedLog:
    """Log exceptions, but at most one in ten minutes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._logged_s = -math.inf

    def exception(self, text: str) -> None:
        """Log the exception that is being handled."""
        now_s = self._clock()
        if now_s - self._logged_s >= _LOGGED_EVERY_S:
            self._logged_s = now_s
            _log.exception(text)


class Observer:
    """Follow the state of the machine, and the slowdown, drift and size of requests.

    ``size`` is assumed until there are requests; everything but `pending` and `predicted_ms` is for the loop's thread.

    Attributes:
        pending: observations since the last step; requests add to it.
        slowdown: observed over expected latency.
        drift: observed over profiled latency on the quiet machine.
        heat: the trend of the temperature.
        size: the size of recent requests.
        usual_size: the size assumed at the start.
    """

    def __init__(
        self,
        sensors: Sensors,
        policy: Policy,
        clock: Callable[[], float],
        size: Size,
        wake: Callable[[], None],
        log: RateLimitedLog,
    ) -> None:
        self._sensors, self._clock, self._log, self._confidence = sensors, clock, log, policy.confidence
        self._unread_limits = UnreadLimits(policy.limits, sensors)
        self.pending = Observations(policy.max_latency_ms, wake)
        self.slowdown, self.drift, self.heat = Slowdown(), Drift(), HeatTrend(policy.max_temperature_c)
        self.size = self.usual_size = size

    def read(self) -> Readings:
        """Return the sensors' readings; empty ones if an application's own sensors fail."""
        try:
            readings = self._sensors.read()
        except Exception:  # noqa: BLE001 (an application's own sensors: decisions go on without them)
            self._log.exception("the sensors failed")
            return Readings()
        self._unread_limits.look(readings)
        return readings

    def take_in(self, source: Source, readings: Readings, *, is_beside_a_load: bool) -> None:
        """Learn from the requests since the last step; those beside a load only show their size."""
        for seen in self.pending.take():
            if seen.subnet.source is source:
                ratio = source.costs.ratio(seen.subnet.name, seen.size, seen.latency_ms)
                self.slowdown.add(seen.at_s, None if is_beside_a_load else ratio, seen.size)
                if ratio is not None and not is_beside_a_load:
                    self.drift.add(seen.subnet.name, ratio, readings)
        self.size = self.slowdown.size(self._clock()) or self.size

    def predicted_ms(self, subnet: LoadedSubnet, size: Size) -> float:
        """Return the predicted 95th percentile of a request; 0 if unknown."""
        assert subnet.source is not None
        candidate, slowdown = subnet.source.costs.candidate(subnet.name, size), self.slowdown.estimate(self._clock())
        return predicted_p95_ms(candidate, None, slowdown, self._confidence) or 0.0

    def restart(self) -> None:
        """Forget what was learnt from the requests to an earlier palette."""
        self.slowdown = Slowdown()
        self.drift.clear()
