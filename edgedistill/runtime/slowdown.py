"""What the requests of the last seconds tell: how much slower than expected they ran, and how large they were."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

__all__ = ["Size", "Slowdown"]

_HIGH = 0.9
_FEWEST = 5  # fewer say too little for a high quantile

_Value = TypeVar("_Value")


class Size(NamedTuple):
    """The shape of a request: sequences in its batch, tokens in each."""

    batch: int
    tokens: int

    @property
    def work(self) -> int:
        """Tokens in all."""
        return self.batch * self.tokens


class _Sample(NamedTuple):
    at_s: float
    ratio: float | None
    size: Size


class Slowdown:
    """Ratios of observed to expected latency over the last ``window_s`` seconds, ``most`` at most. Thread-safe."""

    def __init__(self, *, clock: Callable[[], float], window_s: float = 3.0, most: int = 256) -> None:
        self._clock = clock
        self._window_s = window_s
        self._samples: deque[_Sample] = deque(maxlen=most)
        self._lock = threading.Lock()

    def add(self, at_s: float, ratio: float | None, size: Size) -> None:
        """A request that ended at ``at_s``; no ratio where there is no expectation yet."""
        with self._lock:
            self._samples.append(_Sample(at_s, ratio, size))

    def high(self) -> float | None:
        """The 0.9 quantile of the recent ratios; None when they are too few."""
        ratios = sorted(s.ratio for s in self._recent() if s.ratio is not None)
        return _quantile(ratios) if len(ratios) >= _FEWEST else None

    def size(self) -> Size | None:
        """The size that nine of ten recent requests do not exceed; None without requests."""
        sizes = sorted((s.size for s in self._recent()), key=lambda size: size.work)
        return _quantile(sizes) if sizes else None

    def _recent(self) -> list[_Sample]:
        oldest_s = self._clock() - self._window_s
        with self._lock:
            return [sample for sample in self._samples if sample.at_s >= oldest_s]


def _quantile(ordered: Sequence[_Value]) -> _Value:
    return ordered[min(len(ordered) - 1, int(_HIGH * len(ordered)))]
