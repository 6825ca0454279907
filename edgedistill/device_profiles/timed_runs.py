"""Time runs, and keep those during which the processor ran at full speed.

A guest on a shared host has no counter of what a neighbour takes of its core, and often cannot read its clock. So a
fixed piece of work is timed before and after each run. If that was slower than at best, the run measured the neighbour.
In a minute on two shared x86-64 cores such runs took 1.2 times as long at the median and 2 times at the 95th
percentile; nine in ten of the others were within 1.5 % of their median, for the largest subnet.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

import numpy as np

__all__ = ["TimedRuns", "Yardstick", "full_speed_limit_us"]

_FULL_SPEED_FACTOR = 1.15  # times the best: the longest that the fixed work takes at full speed
_BEST_PERCENTILE = 5  # of its durations: the lowest are noise of the clock
_MIN_COUNTED_RUNS = 20  # those closest to full speed if fewer reached it

_Point = TypeVar("_Point", bound=Hashable)


class Yardstick:
    """Time a fixed piece of work of the kind that subnets do, short compared with a run."""

    def __init__(self) -> None:
        self._vector = np.ones(4096, np.float32)  # 16 KiB: within any core's own cache

    def look_us(self) -> float:
        """Return how long the fixed work takes now, in microseconds."""
        self._work(10)  # the run before has evicted it from the caches
        start_s = time.perf_counter()
        self._work(100)
        return (time.perf_counter() - start_s) * 1e6

    def _work(self, times: int) -> None:
        vector = self._vector
        for _ in range(times):
            vector.dot(vector)


def full_speed_limit_us(looks_us: Sequence[float]) -> float:
    """Return the longest duration, in microseconds, that counts as full speed among these."""
    return _FULL_SPEED_FACTOR * float(np.percentile(looks_us, _BEST_PERCENTILE))


class TimedRuns(Generic[_Point]):
    """Collect milliseconds by point (what ran, at which shape), each with the slower yardstick around it."""

    def __init__(self, points: Sequence[_Point]) -> None:
        self._runs: dict[_Point, list[tuple[float, float]]] = {point: [] for point in points}
        self._limit_us = float("inf")

    def add(self, point: _Point, ms: float, look_us: float) -> None:
        """Add a run."""
        self._runs[point].append((look_us, ms))

    def judge(self) -> None:
        """Determine full speed from all yardsticks so far; before that every run counts."""
        self._limit_us = full_speed_limit_us([look_us for runs in self._runs.values() for look_us, _ in runs])

    def counted(self, point: _Point) -> list[float]:
        """Return the milliseconds of a point's runs at full speed, or of the 20 closest to it if there are fewer."""
        runs = self._runs[point]
        full_speed = [ms for look_us, ms in runs if look_us <= self._limit_us]
        return (
            full_speed if len(full_speed) >= _MIN_COUNTED_RUNS else [ms for _, ms in sorted(runs)[:_MIN_COUNTED_RUNS]]
        )

    @property
    def full_speed_share(self) -> float:
        """Return the share of all runs at full speed."""
        looks = [look_us for runs in self._runs.values() for look_us, _ in runs]
        return sum(look_us <= self._limit_us for look_us in looks) / len(looks)
