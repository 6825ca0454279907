"""How long requests took, kept between two steps of the controller."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from edgedistill.runtime.predict.slowdown import Size
from edgedistill.runtime.sessions import LoadedSubnet

__all__ = ["Observation", "Observations"]

_TOKEN = Size(1, 1)
_KEPT = 64  # more between two steps add work, not knowledge
_LATE = 3  # requests over the budget in a row; as many that surprise are a new state of the machine


class Observation(NamedTuple):
    """A request of that size that ended then."""

    at_s: float
    subnet: LoadedSubnet
    size: Size
    latency_ms: float


class Observations:
    """The last ones; added from any thread, taken by one.

    Those of a single token are kept apart: a text has many, which would leave none of its prompt. Several over the
    budget in a row do not wait for the next look at the machine: then ``wake`` is called.
    """

    def __init__(self, budget_ms: float | None, wake: Callable[[], None]) -> None:
        self._budget_ms = math.inf if budget_ms is None else budget_ms
        self._wake = wake
        self._late = 0  # in a row
        self._tokens: deque[tuple[float, LoadedSubnet, tuple[int, int], float]] = deque(maxlen=_KEPT)
        self._others: deque[tuple[float, LoadedSubnet, tuple[int, int], float]] = deque(maxlen=_KEPT)

    def add(self, at_s: float, subnet: LoadedSubnet, size: tuple[int, int], latency_ms: float) -> None:
        """One more; its size is a `Size` only where it is taken, which is no request's time."""
        (self._tokens if size == _TOKEN else self._others).append((at_s, subnet, size, latency_ms))
        if latency_ms <= self._budget_ms:
            self._late = 0
        else:
            self._late += 1
            if self._late == _LATE:  # once: where no step can help, requests go on being late
                self._wake()

    def take(self) -> list[Observation]:
        """All there are now, oldest first; and not what comes meanwhile."""
        found = [kept.popleft() for kept in (self._tokens, self._others) for _ in range(len(kept))]
        made = (Observation(at_s, subnet, Size(*size), latency_ms) for at_s, subnet, size, latency_ms in found)
        return sorted(made, key=lambda seen: seen.at_s)

    def clear(self) -> None:
        """Forget them."""
        self._tokens.clear()
        self._others.clear()
