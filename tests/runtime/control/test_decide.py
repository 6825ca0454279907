from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from edgedistill.errors import InputError
from edgedistill.runtime.control.decide import Decision, Policy, Reason, State, decide, fits_with
from edgedistill.runtime.predict.candidates import Beside, Candidate, predicted_p95_ms, together_mb
from edgedistill.runtime.predict.slowdown import Estimate
from edgedistill.runtime.sensors import Readings

LARGE = Candidate("large", 0.9, 100.0, 8.0, 10.0)
MIDDLE = Candidate("middle", 0.8, 50.0, 4.0, 5.0)
SMALL = Candidate("small", 0.7, 25.0, 2.0, 2.5)
ALL = [SMALL, LARGE, MIDDLE]

QUIET = Readings(other_load=0.0, free_mb=1000.0)
MS_10 = Policy(max_latency_ms=10.0, dwell_s=1.0, up_dwell_s=3.0, headroom=0.8, reserve_mb=30.0)


def slower(factor: float | None, sigma: float = 0.0) -> Estimate | None:
    return None if factor is None else Estimate(factor, None, sigma)


def serving(active: str, since_s: float, slowdown: Estimate | None, **more: Any) -> State:
    """With the safety net beside it."""
    return State(active, since_s, slowdown, frozenset({active, "small"}), **more)


def outcome(decision: Decision) -> tuple[str, Reason]:
    return decision.subnet, decision.reason


def memory(free_mb: float) -> Readings:
    return replace(QUIET, free_mb=free_mb)


@pytest.mark.parametrize(
    ("readings", "policy", "subnet", "reason"),
    [
        (QUIET, Policy(), "large", Reason.FIRST),
        (Readings(), Policy(), "large", Reason.FIRST),
        (QUIET, Policy(max_latency_ms=10.0), "large", Reason.FIRST),
        (QUIET, Policy(max_latency_ms=9.9), "middle", Reason.FIRST),
        (QUIET, Policy(max_latency_ms=2.5), "small", Reason.FIRST),
        (QUIET, Policy(max_latency_ms=1.0), "small", Reason.NO_FIT_SMALLEST),
        # Others use half of the cores: everything takes twice as long. More they cannot take of a fair share.
        (Readings(other_load=0.5), Policy(max_latency_ms=10.0), "middle", Reason.FIRST),
        (Readings(other_load=1.0), Policy(max_latency_ms=10.0), "middle", Reason.FIRST),
        # The smallest stays in memory beside it.
        (QUIET, Policy(max_memory_mb=125.0), "large", Reason.FIRST),
        (QUIET, Policy(max_memory_mb=124.0), "middle", Reason.FIRST),
        (QUIET, Policy(max_memory_mb=1.0), "small", Reason.NO_FIT_SMALLEST),
        (memory(104.0), Policy(reserve_mb=30.0), "small", Reason.FIRST),
        (memory(105.0), Policy(reserve_mb=30.0), "middle", Reason.FIRST),
        (memory(10.0), Policy(), "small", Reason.NO_FIT_SMALLEST),
        (QUIET, Policy(prefer="latency"), "small", Reason.FIRST),
        (QUIET, Policy(prefer="latency", min_quality=0.8), "middle", Reason.FIRST),
        (QUIET, Policy(prefer="memory", min_quality=0.85), "large", Reason.FIRST),
        (QUIET, Policy(min_quality=0.95), "small", Reason.NO_FIT_SMALLEST),
    ],
)
def test_the_first_choice(readings: Readings, policy: Policy, subnet: str, reason: Reason) -> None:
    assert outcome(decide(ALL, readings, State(), policy, 0.0)) == (subnet, reason)


@pytest.mark.parametrize(
    ("active", "served_s", "slowdown", "readings", "subnet", "reason"),
    [
        # All is well.
        ("large", 9.0, 1.0, QUIET, "large", Reason.KEEP),
        ("large", 9.0, None, QUIET, "large", Reason.KEEP),
        # Slower than the budget allows: down as far as needed, after the dwell.
        ("large", 9.0, 2.0, QUIET, "middle", Reason.TOO_SLOW),
        ("large", 9.0, 4.0, QUIET, "small", Reason.TOO_SLOW),
        ("large", 0.9, 2.0, QUIET, "large", Reason.DWELL),
        ("large", 1.0, 2.0, QUIET, "middle", Reason.TOO_SLOW),
        # Not even the smallest: it serves and says so.
        ("large", 9.0, 20.0, QUIET, "small", Reason.NO_FIT_SMALLEST),
        ("large", 0.5, 20.0, QUIET, "large", Reason.DWELL),
        ("small", 0.1, 20.0, QUIET, "small", Reason.NO_FIT_SMALLEST),
        # Observations outweigh the sensor; without them it speaks.
        ("large", 9.0, 1.0, Readings(other_load=0.9), "large", Reason.KEEP),
        ("large", 9.0, None, Readings(other_load=0.5), "middle", Reason.TOO_SLOW),
        # Up needs the longer dwell and headroom (8 ms: 5 ms fit, 10 ms do not).
        ("small", 3.0, 1.0, QUIET, "middle", Reason.BETTER_FITS),
        ("small", 2.9, 1.0, QUIET, "small", Reason.DWELL),
        ("middle", 9.0, 1.0, QUIET, "middle", Reason.KEEP),
        ("small", 9.0, 1.6, QUIET, "middle", Reason.BETTER_FITS),
        ("small", 9.0, 1.7, QUIET, "small", Reason.KEEP),
        # Too little memory left: down at once; free memory counts what the active one gives back.
        ("large", 0.0, 1.0, memory(29.0), "middle", Reason.LOW_MEMORY),
        ("middle", 0.0, 1.0, memory(1.0), "small", Reason.LOW_MEMORY),
        ("large", 0.0, 1.0, memory(30.0), "large", Reason.KEEP),
        ("small", 0.0, 1.0, memory(2.0), "small", Reason.NO_FIT_SMALLEST),
        ("small", 9.0, 1.0, memory(49.0), "small", Reason.KEEP),
        ("small", 9.0, 1.0, memory(94.0), "small", Reason.KEEP),
        ("small", 9.0, 1.0, memory(95.0), "middle", Reason.BETTER_FITS),
    ],
)
def test_what_serves_next(
    active: str, served_s: float, slowdown: float | None, readings: Readings, subnet: str, reason: Reason
) -> None:
    now_s = 100.0
    decision = decide(ALL, readings, serving(active, now_s - served_s, slower(slowdown)), MS_10, now_s)
    assert outcome(decision) == (subnet, reason)


def test_what_rises_must_fit_with_confidence_and_what_serves_need_not() -> None:
    unsure = slower(1.0, sigma=0.3)
    assert outcome(decide(ALL, QUIET, serving("middle", 0.0, unsure), MS_10, 99.0)) == ("middle", Reason.KEEP)
    budget = replace(MS_10, max_latency_ms=12.6)  # 10.08 with headroom: room for the large one's 10 if it were sure
    assert outcome(decide(ALL, QUIET, serving("middle", 0.0, unsure), budget, 99.0)) == ("middle", Reason.KEEP)
    sure = slower(1.0)
    assert outcome(decide(ALL, QUIET, serving("middle", 0.0, sure), budget, 99.0)) == ("large", Reason.BETTER_FITS)


def test_a_minute_has_so_many_swaps() -> None:
    policy = replace(MS_10, max_swaps_per_minute=4)
    for swaps, rise, fall in ((2, "middle", "middle"), (3, "small", "middle"), (4, "small", "large")):
        swaps_s = tuple(50.0 + place for place in range(swaps))
        up = decide(ALL, QUIET, serving("small", 0.0, slower(1.0), swaps_s=swaps_s), policy, 99.0)
        down = decide(ALL, QUIET, serving("large", 0.0, slower(2.0), swaps_s=swaps_s), policy, 99.0)
        assert (up.subnet, down.subnet) == (rise, fall)
        later = decide(ALL, QUIET, serving("small", 0.0, slower(1.0), swaps_s=swaps_s), policy, 120.0)
        assert later.subnet == "middle", "a minute later"


@pytest.mark.parametrize(
    ("active", "served_s", "state", "expected"),
    [
        ("large", 20.0, {"hot": True, "warm": True}, ("middle", Reason.TOO_HOT)),
        ("large", 5.0, {"hot": True, "warm": True}, ("large", Reason.KEEP)),  # the last step down is still to show
        ("large", 20.0, {"warm": True}, ("large", Reason.KEEP)),
        ("middle", 20.0, {"warm": True}, ("middle", Reason.KEEP)),
        ("middle", 20.0, {}, ("large", Reason.BETTER_FITS)),
        ("small", 20.0, {"hot": True, "warm": True}, ("small", Reason.NO_FIT_SMALLEST)),
    ],
)
def test_heat(active: str, served_s: float, state: dict[str, bool], expected: tuple[str, Reason]) -> None:
    policy = Policy(dwell_s=1.0, up_dwell_s=3.0)
    decision = decide(ALL, QUIET, serving(active, 100.0 - served_s, slower(1.0), **state), policy, 100.0)
    assert outcome(decision) == expected


def test_what_was_expected_of_each_is_told() -> None:
    decision = decide(ALL, QUIET, serving("large", 0.0, slower(2.0)), MS_10, 99.0)
    assert [(of.subnet, of.p95_ms, of.misfit) for of in decision.expected] == [
        ("small", 5.0, None),
        ("middle", 10.0, None),
        ("large", 20.0, Reason.TOO_SLOW),
    ]


@pytest.mark.parametrize(
    ("free_mb", "budget_mb", "beside"),
    [(None, None, True), (130.0, None, True), (129.0, None, False), (None, 175.0, True), (None, 174.0, False)],
)
def test_what_can_be_loaded_beside(free_mb: float | None, budget_mb: float | None, beside: bool) -> None:
    policy = Policy(max_memory_mb=budget_mb, reserve_mb=30.0)
    assert fits_with(LARGE, [MIDDLE, SMALL], free_mb, policy) is beside


def test_no_swap_leads_straight_back() -> None:
    """Whatever the conditions, the choice after a swap is to stay."""
    for factor in (None, 0.5, 1.0, 1.7, 2.0, 3.9, 9.0):
        for free_mb in (5.0, 31.0, 60.0, 90.0, 130.0, 500.0):
            for active in ALL:
                decision = decide(ALL, memory(free_mb), serving(active.name, 0.0, slower(factor)), MS_10, 100.0)
                if decision.reason in (Reason.KEEP, Reason.NO_FIT_SMALLEST):
                    continue
                chosen = next(c for c in ALL if c.name == decision.subnet)
                held = {c.name: c.memory_mb for c in (active, chosen, SMALL)}
                freed = memory(
                    free_mb + held[active.name] * (active is not SMALL) - chosen.memory_mb * (chosen is not SMALL)
                )
                after = decide(ALL, freed, serving(chosen.name, 100.0, slower(factor)), MS_10, 200.0)
                assert after.subnet != active.name, (factor, free_mb, active.name, chosen.name)


def test_of_equals_the_faster_serves() -> None:
    twin = replace(LARGE, name="twin", p50_ms=7.0)
    assert decide([LARGE, twin], QUIET, State(), Policy(), 0.0).subnet == "twin"
    assert outcome(decide([LARGE, twin], QUIET, State("large"), Policy(), 99.0)) == ("large", Reason.KEEP)


@pytest.mark.parametrize(
    ("load", "slowdown", "confidence", "predicted"),
    [
        (None, None, 0.5, 10.0),
        (0.25, None, 0.5, 10 / 0.75),
        (0.9, None, 0.5, 20.0),
        (0.9, Estimate(1.0, None, 0.0), 0.5, 10.0),
        (0.0, Estimate(3.0, None, 0.0), 0.9, 30.0),
        (0.0, Estimate(3.0, 2.0, 0.0), 0.9, 48.0),
        (0.0, Estimate(1.0, None, 0.1), 0.5, 10.0),
        (0.0, Estimate(1.0, None, 0.1), 0.8, 10.0 * math.exp(0.0841621)),
    ],
)
def test_the_prediction(load: float | None, slowdown: Estimate | None, confidence: float, predicted: float) -> None:
    assert predicted_p95_ms(LARGE, load, slowdown, confidence) == pytest.approx(predicted)


def test_a_candidate_without_latency_is_tried() -> None:
    unknown = replace(LARGE, p50_ms=None, p95_ms=None)
    assert predicted_p95_ms(unknown, 1.0, slower(5.0), 0.9) is None
    assert outcome(decide([unknown, SMALL], QUIET, State(), MS_10, 0.0)) == ("large", Reason.FIRST)


@pytest.mark.parametrize(
    "option",
    [
        {"max_latency_ms": 0.0},
        {"max_latency_ms": math.nan},
        {"max_latency_ms": math.inf},
        {"max_memory_mb": -1.0},
        {"dwell_s": -0.1},
        {"up_dwell_s": math.nan},
        {"reserve_mb": -1.0},
        {"headroom": 0.0},
        {"headroom": 1.1},
        {"confidence": 1.0},
        {"confidence": 0.4},
        {"max_swaps_per_minute": 1},
        {"max_temperature_c": 0.0},
        {"prefer": "speed"},
    ],
)
def test_a_policy_out_of_range_is_refused(option: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(option))):
        Policy(**option)


SHARING = [SMALL, *(replace(one, beside=Beside("small", one.memory_mb - 20.0)) for one in (MIDDLE, LARGE))]


def test_what_shares_weights_with_the_smallest_is_not_counted_twice() -> None:
    small, middle, large = SHARING
    assert together_mb(SHARING) == 25.0 + 30.0 + 80.0
    assert together_mb([middle, large]) == 150.0  # how much these two share is not known
    assert together_mb([]) == 0.0
    assert fits_with(large, [small], 80.0, Policy(reserve_mb=0.0))
    assert not fits_with(large, [small], 79.0, Policy(reserve_mb=0.0))
    assert fits_with(large, [small], None, Policy(max_memory_mb=105.0))
    assert not fits_with(large, [small], None, Policy(max_memory_mb=104.0))


@pytest.mark.parametrize(("most_mb", "subnet"), [(105.0, "large"), (104.0, "middle"), (54.0, "small")])
def test_a_budget_for_memory_is_of_both_together(most_mb: float, subnet: str) -> None:
    assert decide(SHARING, QUIET, State(), Policy(max_memory_mb=most_mb), 0.0).subnet == subnet


@pytest.mark.parametrize(("free_mb", "subnet"), [(31.0, "large"), (29.0, "middle")])
def test_those_in_memory_give_back_what_they_hold_together(free_mb: float, subnet: str) -> None:
    assert decide(SHARING, memory(free_mb), serving("large", 0.0, None), Policy(reserve_mb=30.0), 9.0).subnet == subnet
