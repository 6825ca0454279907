"""Estimate from recent requests how much slower than expected the machine is, and how large requests are.

Contention slows every subnet by about the same factor, so one observation of one subnet corrects the prediction for
all of them (ALERT, Wan et al., USENIX ATC 2020). The logarithm of observed over expected latency is followed by a
Kalman filter whose state drifts at random; single requests scatter around it, and by how much is remembered.
"""

from __future__ import annotations

import math
import threading
from bisect import insort
from collections import deque
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple, TypeVar

__all__ = ["Estimate", "Size", "Slowdown"]

_INITIAL_VARIANCE = 1.0  # of the logarithm before the first request: almost no information
_DRIFT = 0.02  # variance gained per second
_SCATTER = 0.1**2  # of single requests' logarithms, until their own is known
_FORGET = 0.05  # share of the scatter that each request replaces
_SURPRISE = 3.0  # standard deviations
_NEW_STATE = 3  # requests in a row that surprise on the same side; fewer are outliers, which belong to the tail
_LOAD_WINDOW_S = 3.0  # of readings of other processes' load
_JUMP = 0.25  # of the cores within that window: a surprising request in the same direction is then not an outlier
_TAIL = 0.95
_MIN_TAIL_REQUESTS = 20
_REMEMBERED = 200
_RECENT_S = 3.0  # of requests that determine the present size
_WINDOW_S = 120.0  # older requests say nothing about the present
_MAX_SIGMA = 0.3
_SIZES = 64

_Value = TypeVar("_Value")


class Size(NamedTuple):
    """Hold the shape of a request: sequences in its batch, tokens in each."""

    batch: int
    tokens: int

    @property
    def work(self) -> int:
        """Return the tokens of the whole batch."""
        return self.batch * self.tokens


class Estimate(NamedTuple):
    """Hold the present ratio of observed to expected median latency.

    Attributes:
        usual: the usual ratio.
        tail: the 95th percentile over the usual; None with too few requests.
        sigma: the standard deviation of the logarithm of ``usual``.
    """

    usual: float
    tail: float | None
    sigma: float

    def at(self, confidence: float) -> float:
        """Return the bound of the usual ratio at that confidence (0 to 1)."""
        return self.usual * math.exp(_deviations(confidence) * self.sigma)


@cache
def _deviations(confidence: float) -> float:
    from statistics import NormalDist  # its import is slow

    return NormalDist().inv_cdf(confidence)


class Slowdown:
    """Follow the slowdown of one machine. Thread-safe."""

    def __init__(self) -> None:
        self._mean = 0.0
        self._variance = _INITIAL_VARIANCE
        self._scatter = _SCATTER
        self._surprises: list[float] = []  # residuals of the last requests if all surprise in the same direction
        self._at_s: float | None = None
        self._residuals: deque[float] = deque()
        self._ordered: list[float] = []
        self._sizes: deque[tuple[float, Size]] = deque(maxlen=_SIZES)
        self._looks: deque[tuple[float, float]] = deque()
        self._lock = threading.Lock()

    def add(self, at_s: float, ratio: float | None, size: Size) -> None:
        """Add a request that ended at ``at_s``; the ratio is None without an expectation."""
        with self._lock:
            self._sizes.append((at_s, size))
            if ratio is not None and 0 < ratio < math.inf:
                self._update(at_s, math.log(ratio))

    def look(self, at_s: float, other_load: float | None) -> None:
        """Add the share of the cores that others use; after a jump of it, the first surprising request counts."""
        if other_load is None:
            return
        with self._lock:
            self._looks.append((at_s, other_load))
            while at_s - self._looks[0][0] > _LOAD_WINDOW_S:
                self._looks.popleft()

    def estimate(self, now_s: float) -> Estimate | None:
        """Return the present estimate; None without a request in the last two minutes."""
        with self._lock:
            if self._at_s is None or now_s - self._at_s > _WINDOW_S:
                return None
            variance = self._variance + _DRIFT * max(0.0, now_s - self._at_s)
            has_tail = len(self._ordered) >= _MIN_TAIL_REQUESTS
            tail = math.exp(max(0.0, _quantile(self._ordered, _TAIL))) if has_tail else None
            return Estimate(math.exp(self._mean), tail, min(_MAX_SIGMA, math.sqrt(variance)))

    def size(self, now_s: float) -> Size | None:
        """Return the 90th percentile of recent sizes; None without requests."""
        with self._lock:
            recent = [size for at_s, size in self._sizes if now_s - at_s <= _RECENT_S]
        return _quantile(sorted(recent, key=lambda size: size.work), 0.9) if recent else None

    def _update(self, at_s: float, seen: float) -> None:
        """Do one step of the filter."""
        if self._at_s is not None:
            self._variance += _DRIFT * min(_WINDOW_S, max(0.0, at_s - self._at_s))
        self._at_s = at_s
        deviation, residual = math.sqrt(self._variance + self._scatter), seen - self._mean
        if abs(residual) > _SURPRISE * deviation:
            residual = self._surprised(residual, deviation)
        else:
            self._forget_surprises()
            self._remember(residual)
        gain = self._variance / (self._variance + self._scatter)
        self._mean += gain * residual
        self._variance *= 1 - gain

    def _surprised(self, residual: float, deviation: float) -> float:
        """Return how much of a surprise to accept: a little, or all of it after several in a row."""
        if self._surprises and self._surprises[-1] * residual < 0:
            self._forget_surprises()
        self._surprises.append(residual)
        if len(self._surprises) < _NEW_STATE and not self._is_confirmed(residual):
            return math.copysign(_SURPRISE * deviation, residual)
        self._surprises.clear()
        self._variance += residual**2
        return residual

    def _is_confirmed(self, residual: float) -> bool:
        """Return whether the load of others has jumped in the same direction."""
        moved = self._looks[-1][1] - self._looks[0][1] if self._looks else 0.0
        return abs(moved) >= _JUMP and moved * residual > 0

    def _forget_surprises(self) -> None:
        """Treat pending surprises as outliers."""
        for residual in self._surprises:
            self._remember(residual)
        self._surprises.clear()

    def _remember(self, residual: float) -> None:
        """Add a residual to the tail, unless the state itself is uncertain, after a change or a pause."""
        if self._variance > 0.5 * self._scatter:
            return
        clipped = min(abs(residual), _SURPRISE * math.sqrt(self._scatter))
        self._scatter += _FORGET * (clipped**2 - self._scatter)
        self._residuals.append(residual)
        insort(self._ordered, residual)
        if len(self._residuals) > _REMEMBERED:
            self._ordered.remove(self._residuals.popleft())


def _quantile(ordered: Sequence[_Value], share: float) -> _Value:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
