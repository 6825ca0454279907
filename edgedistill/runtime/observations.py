"""How long requests took, kept between two steps of the controller."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from edgedistill.runtime.sessions import LoadedSubnet
from edgedistill.runtime.slowdown import Size

__all__ = ["Observation", "Observations"]

_TOKEN = Size(1, 1)
_KEPT = 64  # more between two steps add work, not knowledge


class Observation(NamedTuple):
    """A request of that size that ended then."""

    at_s: float
    subnet: LoadedSubnet
    size: Size
    latency_ms: float


class Observations:
    """The last ones; added from any thread, taken by one.

    Those of a single token are kept apart: a text has many, which would leave none of its prompt.
    """

    def __init__(self) -> None:
        self._tokens: deque[tuple[float, LoadedSubnet, Size, float]] = deque(maxlen=_KEPT)
        self._others: deque[tuple[float, LoadedSubnet, Size, float]] = deque(maxlen=_KEPT)

    def add(self, at_s: float, subnet: LoadedSubnet, size: Size, latency_ms: float) -> None:
        """One more."""
        (self._tokens if size == _TOKEN else self._others).append((at_s, subnet, size, latency_ms))

    def take(self) -> list[Observation]:
        """All there are now, oldest first; and not what comes meanwhile."""
        found = [kept.popleft() for kept in (self._tokens, self._others) for _ in range(len(kept))]
        return sorted((Observation(*seen) for seen in found), key=lambda seen: seen.at_s)

    def clear(self) -> None:
        """Forget them."""
        self._tokens.clear()
        self._others.clear()
