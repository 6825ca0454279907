"""Collect request latencies between two steps of the controller."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from edgedistill.runtime.predict.slowdown import Size
from edgedistill.runtime.sessions import LoadedSubnet

__all__ = ["Observation", "Observations"]

_TOKEN = Size(1, 1)
_MAX_OBSERVATIONS = 64  # more between two steps add work, not information
_LATE = 3  # requests over the budget in a row; as many surprising ones are a new state of the machine


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
