"""Which subnet should serve: a pure function of figures, readings and time.

The best quality whose predicted latency and whose memory fit wins. Against thrashing, a subnet serves
for a while before it is changed, for longer before a better one, and a better one must fit with room
to spare. Every decision has a reason.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from edgedistill.errors import InputError
from edgedistill.runtime.sensors import Readings

__all__ = ["Candidate", "Decision", "Policy", "Reason", "State", "decide", "predicted_p95_ms"]


class Reason(str, Enum):
    """Why a subnet serves."""

    FIRST = "first"  # nothing served before
    KEEP = "keep"  # it fits, and nothing better does
    DWELL = "dwell"  # another would be better, but the last change is too recent
    TOO_SLOW = "too-slow"  # the one before was predicted to miss the latency budget
    LOW_MEMORY = "low-memory"  # the one before takes more memory than there is
    BETTER_FITS = "better-fits"  # there is room for a better one
    NO_FIT_SMALLEST = "no-fit-smallest"  # no subnet meets the budgets: the smallest serves
    PINNED = "pinned"  # the caller asked for it
    LOAD_FAILED = "load-failed"  # it could not be loaded; what served before goes on serving

    __str__ = str.__str__


@dataclass(frozen=True, slots=True)
class Policy:
    """The budgets, and how readily to change.

    Attributes:
        max_latency_ms: budget for the predicted 95th percentile of one run; None for no budget.
        max_memory_mb: budget for one subnet's memory, in 10⁶ bytes (two are resident for the moment
            of a swap); None for no budget.
        dwell_s: shortest time between two changes; a lack of memory does not wait for it.
        up_dwell_s: shortest time before a change to a better subnet.
        headroom: the share of the latency budget that a better subnet may take, 0 to 1.
        reserve_mb: free memory that is left to others.

    Raises:
        InputError: a value is out of its range.
    """

    max_latency_ms: float | None = None
    max_memory_mb: float | None = None
    dwell_s: float = 1.0
    up_dwell_s: float = 3.0
    headroom: float = 0.85
    reserve_mb: float = 32.0

    def __post_init__(self) -> None:
        for name in ("max_latency_ms", "max_memory_mb"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"{name} is {value}; expected a positive number, or None for no budget")
        for name in ("dwell_s", "up_dwell_s", "reserve_mb"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise InputError(f"{name} is {value}; expected zero or a positive number")
        if not 0 < self.headroom <= 1:
            raise InputError(f"headroom is {self.headroom}; expected a share over 0, at most 1")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A subnet's figures: memory in 10⁶ bytes, latency on a quiet machine at the length in use, None if unknown."""

    name: str
    quality: float
    memory_mb: float
    p50_ms: float | None
    p95_ms: float | None


@dataclass(frozen=True, slots=True)
class State:
    """What serves now, since when, and the high quantile of recent observed over expected latency."""

    active: str | None = None
    since_s: float = 0.0
    slowdown: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The subnet that should serve, and why."""

    subnet: str
    reason: Reason


def decide(candidates: Sequence[Candidate], readings: Readings, state: State, policy: Policy, now_s: float) -> Decision:
    """Choose the subnet that should serve from now on; ``candidates`` holds the active one if there is one."""
    active = next((c for c in candidates if c.name == state.active), None)
    fitting = [c for c in candidates if _misfit(c, active, readings, state, policy) is None]
    best = max(fitting, key=_rank, default=None)
    if active is None:
        return Decision(best.name, Reason.FIRST) if best else _smallest(candidates)
    served_s = now_s - state.since_s
    misfit = _misfit(active, active, readings, state, policy)
    if misfit is None:
        return _keep_or_rise(active, best, served_s, policy)
    target = Decision(best.name, misfit) if best else _smallest(candidates)
    hurried = misfit is Reason.LOW_MEMORY or target.subnet == active.name
    return target if hurried or served_s >= policy.dwell_s else Decision(active.name, Reason.DWELL)


def _keep_or_rise(active: Candidate, best: Candidate | None, served_s: float, policy: Policy) -> Decision:
    if best is None or best.quality <= active.quality:
        return Decision(active.name, Reason.KEEP)
    if served_s < max(policy.up_dwell_s, policy.dwell_s):
        return Decision(active.name, Reason.DWELL)
    return Decision(best.name, Reason.BETTER_FITS)


def _misfit(
    candidate: Candidate, active: Candidate | None, readings: Readings, state: State, policy: Policy
) -> Reason | None:
    """What keeps the candidate from serving; None if it fits. A better one than the active must fit with headroom."""
    rises = active is not None and candidate.quality > active.quality
    headroom = policy.headroom if rises else 1.0
    if not _memory_fits(candidate, active, readings.free_mb, policy, headroom):
        return Reason.LOW_MEMORY
    predicted = predicted_p95_ms(candidate, readings.other_load, state.slowdown)
    if predicted is None or policy.max_latency_ms is None:
        return None
    return Reason.TOO_SLOW if predicted > policy.max_latency_ms * headroom else None


def _memory_fits(
    candidate: Candidate, active: Candidate | None, free_mb: float | None, policy: Policy, headroom: float
) -> bool:
    if policy.max_memory_mb is not None and candidate.memory_mb > policy.max_memory_mb:
        return False
    if free_mb is None:
        return True
    # Free memory is what the active one leaves; once replaced, it gives back its own.
    returned_mb = active.memory_mb if active else 0.0
    if free_mb + returned_mb - candidate.memory_mb < policy.reserve_mb / headroom:
        return False
    # While a larger one loads, both are resident. (A smaller one is worth that moment.)
    return candidate.memory_mb <= max(free_mb, returned_mb)


def predicted_p95_ms(candidate: Candidate, other_load: float | None, slowdown: float | None) -> float | None:
    """The candidate's 95th percentile under the present contention; None when it has no figures.

    Contention slows all subnets by about the same ratio, so the ratio seen on one predicts the others.
    Before there are requests to see it on, fair scheduling does: others leave us at least half.
    """
    if candidate.p50_ms is None:
        return None
    p95_ms = candidate.p50_ms if candidate.p95_ms is None else candidate.p95_ms
    if slowdown is None:
        return p95_ms / max(1 - (other_load or 0.0), 0.5)
    return max(candidate.p50_ms * slowdown, p95_ms)


def _rank(candidate: Candidate) -> tuple[float, float, float]:
    """Best quality first; of equals the faster, then the smaller."""
    return candidate.quality, -(candidate.p50_ms or 0.0), -candidate.memory_mb


def _smallest(candidates: Sequence[Candidate]) -> Decision:
    smallest = min(candidates, key=lambda c: (c.p50_ms or 0.0, c.memory_mb))
    return Decision(smallest.name, Reason.NO_FIT_SMALLEST)
