"""Which subnet should serve: a pure function of figures, readings, state and time.

Of the subnets whose predicted latency meets the budget and whose memory fits, the one that the policy prefers wins.
Against thrashing, a subnet serves for a while before it is changed, for longer before a better one, and a better one
must fit with room to spare. Every decision has a reason, and says what was expected of each subnet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal, get_args

from edgedistill.errors import InputError
from edgedistill.runtime.arguments import is_integer, is_real
from edgedistill.runtime.limits import LimitReading, SensorLimit, check_limits, read_limits
from edgedistill.runtime.predict.candidates import Candidate, predicted_p95_ms, smallest, together_mb
from edgedistill.runtime.predict.slowdown import Estimate
from edgedistill.runtime.sensors import Readings

__all__ = [
    "Decision",
    "Expected",
    "Policy",
    "Preference",
    "Reason",
    "State",
    "decide",
    "fits_beside",
]

Preference = Literal["quality", "latency", "memory"]

_MINUTE_S = 60.0
_LIGHTER = 0.8  # of the active one's latency: what takes more of it does not cool
_HEAT_DWELL_S = 10.0  # heat follows load by seconds
_UPGRADE_RESERVE = 1.5  # times the reserve that a better subnet must leave


class Reason(str, Enum):
    """Why a subnet serves."""

    FIRST = "first"  # nothing served before
    KEEP = "keep"  # it fits, and nothing better does
    DWELL = "dwell"  # another would be better, but the last change is too recent
    SWAP_LIMIT = "swap-limit"  # another would be better, but there were as many changes as a minute may have
    TOO_SLOW = "too-slow"  # the one before was predicted to miss the latency budget
    LOW_MEMORY = "low-memory"  # the one before takes more memory than there is
    TOO_HOT = "too-hot"  # the one before would heat the machine to where it slows itself down
    SENSOR_LIMIT = "sensor-limit"  # with the one before, a sensor's reading crossed a limit of the policy
    TOO_POOR = "too-poor"  # the one before is below the quality asked for
    BETTER_FITS = "better-fits"  # there is room for a better one
    NO_FIT_SMALLEST = "no-fit-smallest"  # no subnet meets the budgets: the smallest serves
    PINNED = "pinned"  # the caller asked for it
    BRIDGE = "bridge"  # the smallest serves at once, until the one decided for is loaded
    LOADING = "loading"  # it is being loaded; what served before goes on until then
    LOAD_FAILED = "load-failed"  # it could not be loaded; what served before goes on serving
    QUARANTINED = "quarantined"  # it failed at what the smallest could answer
    RELOADED = "reloaded"  # a new palette was put in place, and proven
    RELOAD_FAILED = "reload-failed"  # a new palette was put in place, and the old one goes on

    __str__ = str.__str__


@dataclass(frozen=True, slots=True)
class Policy:
    """The budgets, what to prefer within them, and how readily to change.

    Attributes:
        max_latency_ms: budget for the predicted 95th percentile of one run; None for no budget.
        max_memory_mb: budget for all subnets in memory together, in 10⁶ bytes: the one that serves, the smallest
            beside it, and one that loads; None for no budget.
        max_first_token_ms: budget for the predicted 95th percentile of reading a prompt; None for no budget. It is of
            generation, whose ``max_latency_ms`` is the budget of each token after the first.
        prefer: the best quality, the lowest latency, or the least memory.
        min_quality: validation score that a subnet must have; None for any.
        max_temperature_c: where to keep the processor below; None for the kernel's own limit.
        confidence: how surely the prediction must hold for a subnet that does not serve yet, 0.5 to 1.
        dwell_s: shortest time between two changes; a lack of memory does not wait for it.
        up_dwell_s: shortest time before a change to a better subnet.
        max_swaps_per_minute: changes that a minute may have, but for a lack of memory.
        headroom: the share of the latency budget that a better subnet may take, 0 to 1.
        reserve_mb: free memory that is left to others.
        limits: bounds on sensors, the application's own included; a lighter subnet serves once one is crossed.

    Raises:
        InputError: a value is out of its range.
    """

    max_latency_ms: float | None = None
    max_memory_mb: float | None = None
    max_first_token_ms: float | None = None
    prefer: Preference = "quality"
    min_quality: float | None = None
    max_temperature_c: float | None = None
    confidence: float = 0.8
    dwell_s: float = 0.5
    up_dwell_s: float = 2.0
    max_swaps_per_minute: int = 20
    headroom: float = 0.9
    reserve_mb: float = 32.0
    limits: Sequence[SensorLimit] = ()

    def __post_init__(self) -> None:
        for name in ("max_latency_ms", "max_memory_mb", "max_first_token_ms", "max_temperature_c"):
            value = getattr(self, name)
            if value is not None and not (is_real(value) and 0 < value < math.inf):
                raise InputError(f"{name} is {value!r}; expected a positive number, or None for no budget")
        for name in ("dwell_s", "up_dwell_s", "reserve_mb"):
            value = getattr(self, name)
            if not (is_real(value) and 0 <= value < math.inf):
                raise InputError(f"{name} is {value!r}; expected zero or a positive number")
        if self.min_quality is not None and not is_real(self.min_quality):
            raise InputError(f"min_quality is {self.min_quality!r}; expected a number, or None for any quality")
        if self.prefer not in get_args(Preference):
            raise InputError(f"prefer is {self.prefer!r}; expected one of {', '.join(get_args(Preference))}")
        if not (is_real(self.confidence) and 0.5 <= self.confidence < 1):
            raise InputError(f"confidence is {self.confidence!r}; expected a share from 0.5 to below 1")
        if not (is_real(self.headroom) and 0 < self.headroom <= 1):
            raise InputError(f"headroom is {self.headroom!r}; expected a share over 0, at most 1")
        object.__setattr__(self, "limits", check_limits(self.limits))  # the class is frozen
        if not (is_integer(self.max_swaps_per_minute) and self.max_swaps_per_minute >= 2):
            raise InputError(f"max_swaps_per_minute is {self.max_swaps_per_minute!r}; expected 2 or more")


@dataclass(frozen=True, slots=True)
class State:
    """What is so now.

    Attributes:
        active: the subnet that serves, or that was decided for and is being loaded; None before the first.
        since_s: since when.
        slowdown: of recent requests; None without them.
        resident: the subnets in memory.
        swaps_s: when the last changes were.
        fallback: the subnet that stays in memory next to the active one; None for the smallest.
        unproven: subnets that were left soon after an upgrade to them: no upgrade to them for a while.
        hot: whether the processor is, or will be in a moment, where it slows itself down.
        warm: whether it is near that.
    """

    active: str | None = None
    since_s: float = 0.0
    slowdown: Estimate | None = None
    resident: frozenset[str] = frozenset()
    swaps_s: Sequence[float] = ()
    fallback: str | None = None
    unproven: frozenset[str] = frozenset()
    hot: bool = False
    warm: bool = False


@dataclass(frozen=True, slots=True)
class Expected:
    """What was expected of a subnet: its 95th percentile (None: unknown), and what keeps it from serving.

    ``first_token_ms``: the 95th percentile of reading a prompt, where it generates.
    """

    subnet: str
    p95_ms: float | None
    memory_mb: float
    misfit: Reason | None
    first_token_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The subnet that should serve, why, what was expected of each, and the readings that have a limit."""

    subnet: str
    reason: Reason
    expected: tuple[Expected, ...] = ()
    limits: tuple[LimitReading, ...] = ()


def decide(candidates: Sequence[Candidate], readings: Readings, state: State, policy: Policy, now_s: float) -> Decision:
    """Choose the subnet that should serve from now on; ``candidates`` holds the active one if there is one."""
    limits = read_limits(policy.limits, readings)
    at = _Moment({c.name: c for c in candidates}, readings, state, policy, now_s, limits)
    expected = tuple(
        Expected(c.name, at.predicted_ms(c), c.memory_mb, at.misfit(c), at.predicted_first_ms(c))
        for c in sorted(candidates, key=at.rank)
    )
    fitting = [at.candidates[found.subnet] for found in expected if found.misfit is None]
    subnet, reason = at.choice(fitting)
    return Decision(subnet, reason, expected, limits)


@dataclass(frozen=True, slots=True)
class _Moment:
    """All that a decision goes by."""

    candidates: dict[str, Candidate]
    readings: Readings
    state: State
    policy: Policy
    now_s: float
    limits: tuple[LimitReading, ...]

    @property
    def active(self) -> Candidate | None:
        return None if self.state.active is None else self.candidates.get(self.state.active)

    def choice(self, fitting: Sequence[Candidate]) -> tuple[str, Reason]:
        """Of those that fit, the last is the preferred."""
        active, best = self.active, fitting[-1] if fitting else None
        if active is None:
            return (best.name, Reason.FIRST) if best else self._smallest()
        misfit = self.misfit(active)
        if misfit is None:
            return self._keep_or_upgrade(active, best)
        target = (best.name, misfit) if best else self._smallest()
        if misfit is Reason.LOW_MEMORY or target[0] == active.name:
            return target
        if self._served_s < self.policy.dwell_s:
            return active.name, Reason.DWELL
        return target if self._swaps_left >= 1 else (active.name, Reason.SWAP_LIMIT)

    def _keep_or_upgrade(self, active: Candidate, best: Candidate | None) -> tuple[str, Reason]:
        if best is None or not self._preferred(best):
            return active.name, Reason.KEEP
        if self._served_s < max(self.policy.up_dwell_s, self.policy.dwell_s):
            return active.name, Reason.DWELL
        # An upgrade may have to be taken back.
        return (best.name, Reason.BETTER_FITS) if self._swaps_left >= 2 else (active.name, Reason.SWAP_LIMIT)

    def _smallest(self) -> tuple[str, Reason]:
        return smallest(tuple(self.candidates.values())).name, Reason.NO_FIT_SMALLEST

    @property
    def _served_s(self) -> float:
        return self.now_s - self.state.since_s

    @property
    def _swaps_left(self) -> int:
        recent = sum(self.now_s - at_s < _MINUTE_S for at_s in self.state.swaps_s)
        return self.policy.max_swaps_per_minute - recent

    def rank(self, candidate: Candidate) -> tuple[float, float, float]:
        """Higher for what the policy prefers; of equals the faster, then the smaller."""
        by = {"quality": candidate.quality, "latency": -(candidate.p50_ms or 0.0), "memory": -candidate.memory_mb}
        return by[self.policy.prefer], -(candidate.p50_ms or 0.0), -candidate.memory_mb

    def _preferred(self, candidate: Candidate) -> bool:
        """To the active one."""
        return self.active is not None and self.rank(candidate)[0] > self.rank(self.active)[0]

    def misfit(self, candidate: Candidate) -> Reason | None:
        """What keeps it from serving; None if it fits. What is preferred to the active one must fit with room."""
        policy, is_upgrade = self.policy, self._preferred(candidate)
        if policy.min_quality is not None and candidate.quality < policy.min_quality:
            return Reason.TOO_POOR
        if not self._memory_fits(candidate, is_upgrade):
            return Reason.LOW_MEMORY
        if self._too_slow(candidate, policy.headroom if is_upgrade else 1.0):
            return Reason.TOO_SLOW
        if self._too_hot(candidate):
            return Reason.TOO_HOT
        if self._crosses_limit(candidate):
            return Reason.SENSOR_LIMIT
        return Reason.DWELL if is_upgrade and candidate.name in self.state.unproven else None

    def _too_slow(self, candidate: Candidate, share: float) -> bool:
        """Whether it takes more than this share of a budget."""
        pairs = (
            (self.policy.max_latency_ms, self.predicted_ms(candidate)),
            (self.policy.max_first_token_ms, self.predicted_first_ms(candidate)),
        )
        return any(most is not None and ms is not None and ms > most * share for most, ms in pairs)

    def predicted_first_ms(self, candidate: Candidate) -> float | None:
        """The 95th percentile of reading a prompt, which scatters as single tokens do; None if unknown."""
        first_ms = candidate.first_token_ms
        if first_ms is None:
            return None
        tail = candidate.p95_ms / candidate.p50_ms if candidate.p95_ms and candidate.p50_ms else 1.0
        return self.predicted_ms(replace(candidate, p50_ms=first_ms, p95_ms=first_ms * tail))

    def predicted_ms(self, candidate: Candidate) -> float | None:
        """Its 95th percentile in the present contention: of what serves the likeliest, of others with confidence."""
        confidence = 0.5 if candidate.name == self.state.active else self.policy.confidence
        return predicted_p95_ms(candidate, self.readings.other_load, self.state.slowdown, confidence)

    def _memory_fits(self, candidate: Candidate, is_upgrade: bool) -> bool:
        every = self.candidates
        fallback = every[self.state.fallback] if self.state.fallback in every else smallest(tuple(every.values()))
        wanted_mb = together_mb([candidate] if fallback.name == candidate.name else [candidate, fallback])
        if self.policy.max_memory_mb is not None and wanted_mb > self.policy.max_memory_mb:
            return False
        if self.readings.free_mb is None:
            return True
        # Free memory is what those in memory leave; they give back their own.
        resident_mb = together_mb([c for name, c in self.candidates.items() if name in self.state.resident])
        left_mb = self.readings.free_mb + resident_mb - wanted_mb
        return left_mb >= self.policy.reserve_mb * (_UPGRADE_RESERVE if is_upgrade else 1.0)

    def _too_hot(self, candidate: Candidate) -> bool:
        is_due = self.state.hot and self._served_s >= _HEAT_DWELL_S
        return self._too_heavy(candidate, must_lighten=is_due, must_not_add=self.state.warm)

    def _crosses_limit(self, candidate: Candidate) -> bool:
        is_due = any(found.is_crossed and self._served_s >= found.limit.dwell_s for found in self.limits)
        is_near = any(found.is_near for found in self.limits)
        return self._too_heavy(candidate, must_lighten=is_due, must_not_add=is_near)

    def _too_heavy(self, candidate: Candidate, *, must_lighten: bool, must_not_add: bool) -> bool:
        """Return whether the candidate is heavier than the active subnet may now be followed by."""
        active = self.active
        if active is None or candidate.p50_ms is None or active.p50_ms is None:
            return False
        if candidate.p50_ms > active.p50_ms:
            return must_not_add
        return must_lighten and candidate.p50_ms > _LIGHTER * active.p50_ms


def fits_beside(candidate: Candidate, loaded: Sequence[Candidate], free_mb: float | None, policy: Policy) -> bool:
    """Whether it can be loaded while those stay in memory."""
    total_mb = together_mb([*loaded, candidate])
    if policy.max_memory_mb is not None and total_mb > policy.max_memory_mb:
        return False
    return free_mb is None or free_mb - (total_mb - together_mb(loaded)) >= policy.reserve_mb
