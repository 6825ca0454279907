"""Timed runs, and whether the processor kept its pace about each.

What a neighbour on a shared host takes of a core shows in no counter of the guest, nor does a clock that cannot be
read. It shows in a fixed piece of work before and after a run: where that took longer than it does at best, the run
tells of the neighbour. In a trial of a minute on two shared x86-64 cores such runs took 1.2 times as long at the
median, and 2 times at the 95th percentile; of the others nine in ten lay within 1.5 % of their median, the largest
subnet's.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

import numpy as np

__all__ = ["TimedRuns", "Yardstick", "full_speed_limit_us"]

_KEPT = 1.15  # times the best: as long may the fixed work take where the pace is kept
_BEST = 5  # percentile of its durations: the least are the clock's own scatter
_LEAST = 20  # runs that count, those nearest to the best pace if fewer kept it

_Point = TypeVar("_Point", bound=Hashable)


class Yardstick:
    """A fixed piece of work of the kind that subnets do, short beside a run."""

    def __init__(self) -> None:
        self._vector = np.ones(4096, np.float32)  # 16 KiB: within any core's own cache

    def look_us(self) -> float:
        """How long it takes now, in microseconds."""
        self._work(10)  # a run has left nothing of it in the caches
        start_s = time.perf_counter()
        self._work(100)
        return (time.perf_counter() - start_s) * 1e6

    def _work(self, times: int) -> None:
        vector = self._vector
        for _ in range(times):
            vector.dot(vector)


def full_speed_limit_us(looks_us: Sequence[float]) -> float:
    """Microseconds that a look may take where the processor keeps the best pace of these."""
    return _KEPT * float(np.percentile(looks_us, _BEST))


class TimedRuns(Generic[_Point]):
    """Milliseconds of runs by point (what ran, at which shape), with the slower look at the yardstick about each."""

    def __init__(self, points: Sequence[_Point]) -> None:
        self._runs: dict[_Point, list[tuple[float, float]]] = {point: [] for point in points}
        self._limit_us = float("inf")

    def add(self, point: _Point, ms: float, look_us: float) -> None:
        """One more."""
        self._runs[point].append((look_us, ms))

    def judge(self) -> None:
        """What the best pace is, by all looks so far; until then every run counts."""
        self._limit_us = full_speed_limit_us([look_us for runs in self._runs.values() for look_us, _ in runs])

    def counted(self, point: _Point) -> list[float]:
        """Milliseconds of its runs at the best pace; of the 20 nearest to it where that is fewer."""
        runs = self._runs[point]
        kept = [ms for look_us, ms in runs if look_us <= self._limit_us]
        return kept if len(kept) >= _LEAST else [ms for _, ms in sorted(runs)[:_LEAST]]

    @property
    def kept_share(self) -> float:
        """Of all runs, those at the best pace."""
        looks = [look_us for runs in self._runs.values() for look_us, _ in runs]
        return sum(look_us <= self._limit_us for look_us in looks) / len(looks)
