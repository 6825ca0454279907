from __future__ import annotations

import math
from dataclasses import replace

import pytest

from edgedistill.errors import InputError
from edgedistill.runtime.selector import Candidate, Decision, Policy, Reason, State, decide, predicted_p95_ms
from edgedistill.runtime.sensors import Readings

LARGE = Candidate("large", 0.9, 100.0, 8.0, 10.0)
MIDDLE = Candidate("middle", 0.8, 50.0, 4.0, 5.0)
SMALL = Candidate("small", 0.7, 25.0, 2.0, 2.5)
ALL = [SMALL, LARGE, MIDDLE]

QUIET = Readings(other_load=0.0, free_mb=1000.0)
MS_10 = Policy(max_latency_ms=10.0, dwell_s=1.0, up_dwell_s=3.0, headroom=0.8, reserve_mb=30.0)


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
        (QUIET, Policy(max_memory_mb=99.0), "middle", Reason.FIRST),
        (QUIET, Policy(max_memory_mb=1.0), "small", Reason.NO_FIT_SMALLEST),
        (memory(90.0), Policy(reserve_mb=30.0), "middle", Reason.FIRST),
        (memory(120.0), Policy(reserve_mb=30.0), "middle", Reason.FIRST),
        (memory(10.0), Policy(), "small", Reason.NO_FIT_SMALLEST),
    ],
)
def test_the_first_choice(readings: Readings, policy: Policy, subnet: str, reason: Reason) -> None:
    assert decide(ALL, readings, State(), policy, 0.0) == Decision(subnet, reason)


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
        ("small", 9.0, 1.9, QUIET, "middle", Reason.BETTER_FITS),
        ("small", 9.0, 2.1, QUIET, "small", Reason.KEEP),
        # Too little memory left: down at once; free memory counts what the active one gives back.
        ("large", 0.0, 1.0, memory(29.0), "middle", Reason.LOW_MEMORY),
        ("middle", 0.0, 1.0, memory(1.0), "small", Reason.NO_FIT_SMALLEST),
        ("large", 0.0, 1.0, memory(30.0), "large", Reason.KEEP),
        ("small", 0.0, 1.0, memory(2.0), "small", Reason.NO_FIT_SMALLEST),
        ("small", 9.0, 1.0, memory(49.0), "small", Reason.KEEP),
        ("small", 9.0, 1.0, memory(70.0), "middle", Reason.BETTER_FITS),
    ],
)
def test_what_serves_next(
    active: str, served_s: float, slowdown: float | None, readings: Readings, subnet: str, reason: Reason
) -> None:
    now_s = 100.0
    decision = decide(ALL, readings, State(active, now_s - served_s, slowdown), MS_10, now_s)
    assert decision == Decision(subnet, reason)


def test_no_swap_leads_straight_back() -> None:
    """Whatever the conditions, the choice after a swap is to stay."""
    for slowdown in (None, 0.5, 1.0, 1.7, 2.0, 3.9, 9.0):
        for free_mb in (5.0, 31.0, 60.0, 90.0, 130.0, 500.0):
            for active in ALL:
                state = State(active.name, 0.0, slowdown)
                decision = decide(ALL, memory(free_mb), state, MS_10, 100.0)
                if decision.reason in (Reason.KEEP, Reason.NO_FIT_SMALLEST):
                    continue
                chosen = next(c for c in ALL if c.name == decision.subnet)
                freed = memory(free_mb + active.memory_mb - chosen.memory_mb)
                after = decide(ALL, freed, State(chosen.name, 100.0, slowdown), MS_10, 200.0)
                assert after.subnet != active.name, (slowdown, free_mb, active.name, chosen.name)


def test_of_equals_the_faster_serves() -> None:
    twin = replace(LARGE, name="twin", p50_ms=7.0)
    assert decide([LARGE, twin], QUIET, State(), Policy(), 0.0).subnet == "twin"
    assert decide([LARGE, twin], QUIET, State("large"), Policy(), 99.0) == Decision("large", Reason.KEEP)


@pytest.mark.parametrize(
    ("load", "slowdown", "predicted"),
    [(None, None, 10.0), (0.25, None, 10 / 0.75), (0.9, None, 20.0), (0.9, 1.0, 10.0), (0.0, 3.0, 24.0)],
)
def test_the_prediction_is_never_below_the_quiet_tail(
    load: float | None, slowdown: float | None, predicted: float
) -> None:
    assert predicted_p95_ms(LARGE, load, slowdown) == pytest.approx(predicted)


def test_a_candidate_without_latency_is_tried() -> None:
    unknown = replace(LARGE, p50_ms=None, p95_ms=None)
    assert predicted_p95_ms(unknown, 1.0, 5.0) is None
    assert decide([unknown, SMALL], QUIET, State(), MS_10, 0.0) == Decision("large", Reason.FIRST)


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
    ],
)
def test_a_policy_out_of_range_is_refused(option: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(option))):
        Policy(**option)
