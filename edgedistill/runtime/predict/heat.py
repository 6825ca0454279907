"""Predict thermal throttling from the temperature and its trend."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from edgedistill.runtime.sensors import Readings

__all__ = ["Heat", "HeatTrend"]

_WINDOW_S = 20.0  # of temperatures in the trend
_AHEAD_S = 15.0
_MARGIN_C = 5.0  # below the limit, within which no heavier subnet is loaded
_MIN_WINDOW_S = 5.0  # whole degrees over a shorter time make no trend


class Heat(NamedTuple):
    """Hold two flags: ``hot``, at the limit now or within 15 s; ``warm``, within 5 °C of that."""

    hot: bool
    warm: bool


class HeatTrend:
    """Follow one machine's temperature; ``limit_c`` replaces the kernel's own limit."""

    def __init__(self, limit_c: float | None = None) -> None:
        self._limit_c = limit_c
        self._seen: deque[tuple[float, float]] = deque()

    def add(self, at_s: float, readings: Readings) -> Heat:
        """Add readings; return the heat now, extrapolated by 15 s of the present trend."""
        throttled = bool(readings.throttled)
        limit_c = readings.temperature_limit_c if self._limit_c is None else self._limit_c
        if readings.temperature_c is None or limit_c is None:
            return Heat(throttled, throttled)
        self._seen.append((at_s, readings.temperature_c))
        while at_s - self._seen[0][0] > _WINDOW_S:
            self._seen.popleft()
        coming_c = readings.temperature_c + _AHEAD_S * max(0.0, self._slope())
        hot = throttled or coming_c >= limit_c
        return Heat(hot, hot or coming_c >= limit_c - _MARGIN_C)

    def _slope(self) -> float:
        """Return degrees a second, by least squares; 0 with too few readings."""
        if self._seen[-1][0] - self._seen[0][0] < _MIN_WINDOW_S:
            return 0.0
        mean_s = sum(at_s for at_s, _ in self._seen) / len(self._seen)
        mean_c = sum(c for _, c in self._seen) / len(self._seen)
        spread = sum((at_s - mean_s) ** 2 for at_s, _ in self._seen)
        return sum((at_s - mean_s) * (c - mean_c) for at_s, c in self._seen) / spread if spread else 0.0
