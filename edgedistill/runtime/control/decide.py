"""Decide which subnet should serve: a pure function of figures, readings, state and time.

Of the subnets whose predicted latency meets the budget and whose memory fits, the policy's preferred one wins.
Hysteresis prevents thrashing: a minimum dwell time before a change, a longer one before an upgrade, and headroom that
an upgrade must leave. Every decision has a reason, and the forecast of each subnet.
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
    "fits_with",
]

Preference = Literal["quality", "latency", "memory"]

_MINUTE_S = 60.0
_LIGHTER = 0.8  # of the active subnet's latency: more does not cool
_HEAT_DWELL_S = 10.0  # heat follows load by seconds
_UPGRADE_RESERVE = 1.5  # times the reserve that a better subnet must leave


class Reason(str, Enum):
    """Why a subnet serves."""

    FIRST = "first"  # no subnet was active before
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
    """Set the budgets, the preference within them, and the hysteresis.

    Attributes:
        max_latency_ms: budget for the predicted 95th percentile of one run; None for no budget.
        max_memory_mb: budget for all subnets in memory together, in 10⁶ bytes: the active one, the fallback and one
            that is being loaded; None for no budget.
        max_first_token_ms: budget for the predicted 95th percentile of a prompt's prefill; None for no budget. It is
            for generation, where ``max_latency_ms`` is the budget of each token after the first.
        prefer: the best quality, the lowest latency, or the least memory.
        min_quality: validation score that a subnet must have; None for any.
        max_temperature_c: temperature below which to keep the processor; None for the kernel's own limit.
        confidence: probability with which the prediction must hold for a subnet that is not active yet, 0.5 to 1.
        dwell_s: minimum dwell time between two changes; a lack of memory does not wait for it.
        up_dwell_s: minimum dwell time before an upgrade.
        max_swaps_per_minute: maximum number of changes in a minute, except for a lack of memory.
        headroom: the share of the latency budget that an upgrade may use, 0 to 1.
        reserve_mb: free memory left to others.
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
    """Hold the present state.

    Attributes:
        active: the active subnet, or the target that is being loaded; None before the first.
        since_s: when it became active or the target.
        slowdown: the slowdown of recent requests; None without them.
        resident: the subnets in memory.
        swaps_s: the times of the last changes.
        fallback: the fallback subnet; None for the smallest.
        unproven: subnets whose last upgrade was soon reversed: no upgrade to them for a while.
        hot: whether the processor is, or will soon be, throttled by heat.
        warm: whether it is close to that.
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
    """Hold the forecast of a subnet: its 95th percentile (None: unknown), and why it cannot serve (None: it can).

    ``first_token_ms``: for generation, the 95th percentile of the prefill.
    """

    subnet: str
    p95_ms: float | None
    memory_mb: float
    misfit: Reason | None
    first_token_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Hold the chosen subnet, the reason, the forecast of each subnet, and the readings that have a limit."""

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
    fitting = [at.candidates[forecast.subnet] for forecast in expected if forecast.misfit is None]
    subnet, reason = at.choice(fitting)
    return Decision(subnet, reason, expected, limits)


@dataclass(frozen=True, slots=True)
class _Moment:
    """Hold everything that a decision depends on."""

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
        """Choose among the fitting candidates, of which the last is preferred."""
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
        """Return a rank, higher for what the policy prefers; of equals the faster, then the smaller."""
        by = {"quality": candidate.quality, "latency": -(candidate.p50_ms or 0.0), "memory": -candidate.memory_mb}
        return by[self.policy.prefer], -(candidate.p50_ms or 0.0), -candidate.memory_mb

    def _preferred(self, candidate: Candidate) -> bool:
        """Return whether the policy prefers it to the active one."""
        return self.active is not None and self.rank(candidate)[0] > self.rank(self.active)[0]

    def misfit(self, candidate: Candidate) -> Reason | None:
        """Return why it cannot serve; None if it fits. An upgrade must fit with headroom."""
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
        """Return whether it takes more than this share of a latency budget."""
        pairs = (
            (self.policy.max_latency_ms, self.predicted_ms(candidate)),
            (self.policy.max_first_token_ms, self.predicted_first_ms(candidate)),
        )
        return any(budget is not None and ms is not None and ms > budget * share for budget, ms in pairs)

    def predicted_first_ms(self, candidate: Candidate) -> float | None:
        """Return the 95th percentile of the prefill, which scatters as single tokens do; None if unknown."""
        first_ms = candidate.first_token_ms
        if first_ms is None:
            return None
        tail = candidate.p95_ms / candidate.p50_ms if candidate.p95_ms and candidate.p50_ms else 1.0
        return self.predicted_ms(replace(candidate, p50_ms=first_ms, p95_ms=first_ms * tail))

    def predicted_ms(self, candidate: Candidate) -> float | None:
        """Return its 95th percentile in the present contention: the median for the active one, else with confidence."""
        confidence = 0.5 if candidate.name == self.state.active else self.policy.confidence
        return predicted_p95_ms(candidate, self.readings.other_load, self.state.slowdown, confidence)

    def _memory_fits(self, candidate: Candidate, is_upgrade: bool) -> bool:
        every = self.candidates
        fallback = every[self.state.fallback] if self.state.fallback in every else smallest(tuple(every.values()))
        needed_mb = together_mb([candidate] if fallback.name == candidate.name else [candidate, fallback])
        if self.policy.max_memory_mb is not None and needed_mb > self.policy.max_memory_mb:
            return False
        if self.readings.free_mb is None:
            return True
        # Free memory is what those in memory leave; they give back their own.
        resident_mb = together_mb([c for name, c in self.candidates.items() if name in self.state.resident])
        left_mb = self.readings.free_mb + resident_mb - needed_mb
        return left_mb >= self.policy.reserve_mb * (_UPGRADE_RESERVE if is_upgrade else 1.0)

    def _too_hot(self, candidate: Candidate) -> bool:
        is_due = self.state.hot and self._served_s >= _HEAT_DWELL_S
        return self._too_heavy(candidate, must_lighten=is_due, must_not_add=self.state.warm)

    def _crosses_limit(self, candidate: Candidate) -> bool:
        is_due = any(reading.is_crossed and self._served_s >= reading.limit.dwell_s for reading in self.limits)
        is_near = any(reading.is_near for reading in self.limits)
        return self._too_heavy(candidate, must_lighten=is_due, must_not_add=is_near)

    def _too_heavy(self, candidate: Candidate, *, must_lighten: bool, must_not_add: bool) -> bool:
        """Return whether the candidate is heavier than the active subnet may now be followed by."""
        active = self.active
        if active is None or candidate.p50_ms is None or active.p50_ms is None:
            return False
        if candidate.p50_ms > active.p50_ms:
            return must_not_add
        return must_lighten and candidate.p50_ms > _LIGHTER * active.p50_ms


def fits_with(candidate: Candidate, loaded: Sequence[Candidate], free_mb: float | None, policy: Policy) -> bool:
    """Return whether it can be loaded while those stay in memory."""
    total_mb = together_mb([*loaded, candidate])
    if policy.max_memory_mb is not None and total_mb > policy.max_memory_mb:
        return False
    return free_mb is None or free_mb - (total_mb - together_mb(loaded)) >= policy.reserve_mb
