"""Predict the cost of each subnet at a request's size, from a profile or else from its MACs."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from statistics import median
from typing import Protocol

from edgedistill.palette import DeviceProfile, LatencyPoint, Manifest, SubnetProfile
from edgedistill.printable import get_logger
from edgedistill.runtime.predict.candidates import Beside, Candidate
from edgedistill.runtime.predict.slowdown import Size

__all__ = ["Costs", "MacCosts", "ProfileCosts", "Rate", "costs_for", "qualities"]

_log = get_logger(__name__)

_MANIFEST_TOKENS = 64  # the manifest's MACs are of one sequence of this length
_MIN_OBSERVATIONS = 5


class Costs(Protocol):
    """Predict figures of the subnets of one palette."""

    def candidates(self, size: Size) -> list[Candidate]:
        """Return every subnet with its figures for requests of ``size``."""

    def candidate(self, name: str, size: Size) -> Candidate:
        """Return one subnet with its figures for requests of ``size``."""

    def ratio(self, subnet: str, size: Size, latency_ms: float) -> float | None:
        """Return observed over expected latency; None without an expectation."""


def costs_for(
    manifest: Manifest,
    profile: DeviceProfile | None,
    threads: int | None = None,
    guesses: Callable[[Manifest], Costs] | None = None,
) -> Costs:
    """Return costs by the profile; without one, log that, and return guesses (None: by MACs)."""
    if profile is not None:
        return ProfileCosts(manifest, profile, threads)
    _log.warning("no profile of this machine: latencies are guessed; measure one with 'edgedistill profile PALETTE'")
    return (guesses or MacCosts)(manifest)


def qualities(manifest: Manifest) -> dict[str, float]:
    """Return validation scores (test scores are not for choosing); MACs for all if one is missing."""
    scores = {entry.name: entry.score("validation") for entry in manifest.subnets}
    if any(math.isnan(score) for score in scores.values()):
        return {entry.name: float(entry.macs) for entry in manifest.subnets}
    return scores


class ProfileCosts:
    """Predict costs from a device profile that holds every subnet, for sessions of ``threads`` threads.

    Without that number in the profile the nearest is used; None for the profile's main number.
    """

    def __init__(self, manifest: Manifest, profile: DeviceProfile, threads: int | None = None) -> None:
        self._qualities = qualities(manifest)
        self._subnets: dict[str, SubnetProfile] = {subnet.subnet: subnet for subnet in profile.subnets}
        session_threads = threads or profile.conditions.threads
        self._rows = {
            subnet.subnet: _rows(_with_threads(subnet.latency, session_threads)) for subnet in profile.subnets
        }
        # The scatter of single requests is the machine's: a profile has too few of one subnet to estimate it.
        points = [point for rows in self._rows.values() for row in rows.values() for point in row if point.p50_ms]
        self._tail = median(point.p95_ms / point.p50_ms for point in points) if points else 1.0
        self._beside = {
            subnet.subnet: _beside(subnet, self._subnets.get(profile.smallest)) for subnet in profile.subnets
        }

    def candidates(self, size: Size) -> list[Candidate]:
        """Return every subnet with its profiled memory, and its latency interpolated to ``size``."""
        return [self.candidate(name, size) for name in self._qualities]

    def candidate(self, name: str, size: Size) -> Candidate:
        """Return one subnet with its profiled memory, and its latency interpolated to ``size``."""
        p50_ms = self._p50_ms(name, size)
        memory_mb, beside = self._subnets[name].peak_mb, self._beside[name]
        return Candidate(name, self._qualities[name], memory_mb, p50_ms, p50_ms * self._tail, beside)

    def ratio(self, subnet: str, size: Size, latency_ms: float) -> float | None:
        """Return observed over profiled median latency at that size."""
        p50_ms = self._p50_ms(subnet, size)
        return latency_ms / p50_ms if p50_ms > 0 else None

    def _p50_ms(self, subnet: str, size: Size) -> float:
        rows = self._rows[subnet]
        batch = min(rows, key=lambda b: abs(b - size.batch))
        row = rows[batch]
        low, high, share = _bracket(row, size.tokens)
        factor = size.batch / batch * max(1.0, size.tokens / row[-1].tokens)
        return factor * (low.p50_ms + share * (high.p50_ms - low.p50_ms))


def _beside(subnet: SubnetProfile, smallest: SubnetProfile | None) -> Beside | None:
    """Return what a subnet adds to the smallest; None for the smallest itself, or without its figures."""
    if smallest is None or subnet is smallest:
        return None
    return Beside(smallest.subnet, max(0.0, subnet.with_smallest_mb - smallest.peak_mb))


def _with_threads(points: Sequence[LatencyPoint], threads: int) -> list[LatencyPoint]:
    nearest = min({point.threads for point in points}, key=lambda count: abs(count - threads))
    return [point for point in points if point.threads == nearest]


def _rows(points: Sequence[LatencyPoint]) -> dict[int, list[LatencyPoint]]:
    """Group points by batch, from short to long."""
    rows: dict[int, list[LatencyPoint]] = {}
    for point in sorted(points, key=lambda point: point.tokens):
        rows.setdefault(point.batch, []).append(point)
    return rows


def _bracket(row: Sequence[LatencyPoint], tokens: int) -> tuple[LatencyPoint, LatencyPoint, float]:
    """Return the points around ``tokens`` and its position between them, 0 to 1; beyond the ends, the end."""
    after = bisect_left([point.tokens for point in row], tokens)
    if after in (0, len(row)):
        end = row[min(after, len(row) - 1)]
        return end, end, 0.0
    low, high = row[after - 1], row[after]
    return low, high, (tokens - low.tokens) / (high.tokens - low.tokens)


class Rate:
    """Learn the time of one unit of work: the lowest median so far counts as the quiet machine."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=50)
        self._ms: float | None = None

    def learn(self, latency_ms: float, units: float) -> None:
        """Add an observation: ``units`` of work took ``latency_ms``."""
        self._recent.append(latency_ms / units)
        if len(self._recent) >= _MIN_OBSERVATIONS:
            usual = sorted(self._recent)[len(self._recent) // 2]
            self._ms = min(usual, self._ms or usual)

    def expected_ms(self, units: float) -> float | None:
        """Return the expected time of ``units`` of work; None before the first observations."""
        return None if self._ms is None else self._ms * units


class MacCosts:
    """Guess latency in proportion to MACs; the time of one MAC is learnt from any subnet.

    Memory is assumed to be the size on disk.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._macs = {entry.name: entry.macs for entry in manifest.subnets}
        self._sizes_mb = {entry.name: entry.size_mb for entry in manifest.subnets}
        self._qualities = qualities(manifest)
        self._rate = Rate()

    def candidates(self, size: Size) -> list[Candidate]:
        """Return every subnet with its guesses; no latency before the first requests."""
        return [self.candidate(name, size) for name in self._qualities]

    def candidate(self, name: str, size: Size) -> Candidate:
        """Return one subnet with its guesses."""
        return Candidate(name, self._qualities[name], self._sizes_mb[name], self._expected_ms(name, size), None)

    def ratio(self, subnet: str, size: Size, latency_ms: float) -> float | None:
        """Learn from the observation, and return observed over guessed latency."""
        macs = self._macs_of(subnet, size)
        if macs <= 0:
            return None
        self._rate.learn(latency_ms, macs)
        expected_ms = self._rate.expected_ms(macs)
        return latency_ms / expected_ms if expected_ms else None

    def _expected_ms(self, subnet: str, size: Size) -> float | None:
        return self._rate.expected_ms(self._macs_of(subnet, size))

    def _macs_of(self, subnet: str, size: Size) -> float:
        return self._macs[subnet] * size.work / _MANIFEST_TOKENS
