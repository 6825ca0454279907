from __future__ import annotations

from dataclasses import replace

import pytest

from edgedistill.runtime.control.decide import Policy, Reason
from edgedistill.runtime.control.plan import (
    NEW_PALETTE,
    URGENT,
    Action,
    DropFallback,
    Exchange,
    KeepAsFallback,
    Load,
    LoadFirst,
    Prove,
    Situation,
    Target,
    Wait,
    has_just_run_short,
    plan,
)
from edgedistill.runtime.predict.candidates import Candidate
from edgedistill.runtime.sensors import Readings

FIGURES = {
    "large": Candidate("large", 0.9, 100.0, 8.0, 10.0),
    "middle": Candidate("middle", 0.8, 50.0, 4.0, 5.0),
    "small": Candidate("small", 0.7, 25.0, 2.0, 2.5),
}
ROOM = Readings(free_mb=1000.0)
POLICY = Policy(reserve_mb=30.0, dwell_s=1.0)
NOW_S = 100.0


def situation(
    target: str, live: str | None, fallback: str | None, reason: Reason = Reason.BETTER_FITS, **more: object
) -> Situation:
    """With all subnets in memory that serve or stand by, and small as the one that should be the fallback."""
    held = [name for name in (live, *([] if fallback == live else [fallback])) if name is not None]
    built = Situation(
        target=Target(target, 90.0, reason), live=live, fallback=fallback, smallest="small", held=held, figures=FIGURES
    )
    return replace(built, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("at", "action"),
    [
        (situation("large", None, None, Reason.FIRST), LoadFirst("large")),
        # The target serves: the fallback is loaded beside it, and then there is nothing left to do.
        (situation("large", "large", None, Reason.FIRST), Load("small")),
        (situation("large", "large", "small"), Wait()),
        # The smallest serves: it is the fallback as well.
        (situation("small", "small", None), KeepAsFallback("small")),
        (situation("large", "small", None), KeepAsFallback("small")),
        (situation("small", "small", "small"), Wait()),
        # After a quarantine of the old fallback another one is the smallest.
        (situation("middle", "middle", "small", smallest="middle"), KeepAsFallback("middle")),
        (situation("large", "large", "middle"), Load("small")),
        # The target is the fallback: it serves at once.
        (situation("small", "large", "small"), Exchange("small")),
        (situation("small", "large", "small", Reason.PINNED), Exchange("small")),
        # The target is loaded beside the live one, which serves on, unless the reason is urgent.
        (situation("middle", "large", "small"), Load("middle")),
        (situation("middle", "large", None), Load("middle")),
        *((situation("middle", "large", "small", reason), Exchange("small", is_bridge=True)) for reason in URGENT),
        *((situation("middle", "large", None, reason), Load("middle")) for reason in URGENT),
        (situation("middle", "small", "small", Reason.TOO_SLOW), Load("middle")),
        (situation("middle", "large", "small", Reason.TOO_HOT), Load("middle")),
        # Nothing is begun beside a load, nor what is on its way.
        (situation("middle", "large", "small", may_load=False), Wait()),
        (situation("middle", "large", "small", loading=["middle"]), Wait()),
        (situation("middle", "large", "small", loading=["large"]), Load("middle")),
        (situation("large", "large", None, loading=["small"]), Wait()),
        # A new palette is proven once the target serves, and before the fallback is loaded.
        (situation("large", "large", None, is_palette_due=True), Prove("large")),
        (situation("large", "large", "small", is_palette_due=True), Prove("large")),
        (situation("large", "large", "small", is_palette_due=True, may_load=False), Wait()),
        (situation("large", "large", "small", is_palette_due=True, loading=[NEW_PALETTE]), Wait()),
        (situation("middle", "large", "small", is_palette_due=True), Load("middle")),
    ],
)
def test_what_is_done_where_there_is_room(at: Situation, action: Action) -> None:
    assert plan(at, ROOM, POLICY, NOW_S) == action


@pytest.mark.parametrize(
    ("at", "free_mb", "action"),
    [
        # The middle one takes 50 MB, and 30 are left to others.
        (situation("middle", "large", "small"), 80.0, Load("middle")),
        (situation("middle", "large", "small"), 79.0, Exchange("small", is_bridge=True)),
        (situation("middle", "large", None), 79.0, Load("small")),
        (situation("middle", "large", None, may_load=False), 79.0, Wait()),
        # What is on its way counts as if it were there.
        (situation("middle", "large", "small", loading=["large"]), 80.0, Load("middle")),
        # The fallback is alone in memory: nothing else can be given back, so that the target is loaded all the same.
        (situation("middle", "small", "small"), 79.0, Load("middle")),
        (situation("middle", "small", "small", held=["small", "large"], is_draining=True), 79.0, Wait()),
        # No fallback where there is no room for it.
        (situation("large", "large", None), 55.0, Load("small")),
        (situation("large", "large", None), 54.0, Wait()),
        (situation("large", "large", None), None, Load("small")),
    ],
)
def test_free_memory_decides(at: Situation, free_mb: float | None, action: Action) -> None:
    assert plan(at, Readings(free_mb=free_mb), POLICY, NOW_S) == action


@pytest.mark.parametrize(
    ("at", "budget_mb", "action"),
    [
        (situation("middle", "large", "small"), 175.0, Load("middle")),
        (situation("middle", "large", "small"), 174.0, Exchange("small", is_bridge=True)),
        (situation("middle", "large", "small", loading=["large"]), 274.0, Exchange("small", is_bridge=True)),
        (situation("middle", "large", "small", held=["large", "small", "middle"]), 224.0, Exchange("small", True)),
        # A new palette is held beside the old one: both of its subnets, or the smallest alone, or that once there is
        # room for it.
        (situation("large", "large", "small", is_palette_due=True), 250.0, Prove("large")),
        (situation("large", "large", "small", is_palette_due=True), 249.0, Prove(None)),
        (situation("large", "large", "small", is_palette_due=True), 150.0, Prove(None)),
        (situation("large", "large", "small", is_palette_due=True), 149.0, DropFallback("small")),
        (situation("large", "large", None, is_palette_due=True), 100.0, Prove(None)),
        (situation("small", "small", "small", is_palette_due=True), 25.0, Prove(None)),
        (situation("small", "small", "small", is_palette_due=True), 50.0, Prove("small")),
    ],
)
def test_the_memory_budget_decides(at: Situation, budget_mb: float, action: Action) -> None:
    assert plan(at, ROOM, replace(POLICY, max_memory_mb=budget_mb), NOW_S) == action


@pytest.mark.parametrize(
    ("reason", "fallback", "last_exchange_s", "action"),
    [
        (Reason.LOW_MEMORY, "small", 99.5, Wait()),
        (Reason.LOW_MEMORY, "small", 99.0, Load("middle")),
        (Reason.LOW_MEMORY, "small", None, Load("middle")),
        (Reason.TOO_SLOW, "small", 99.5, Load("middle")),
    ],
)
def test_no_load_begins_while_memory_may_go_on_falling(
    reason: Reason, fallback: str, last_exchange_s: float | None, action: Action
) -> None:
    at = situation("middle", "small", fallback, reason, last_exchange_s=last_exchange_s)
    assert plan(at, ROOM, POLICY, NOW_S) == action
    assert has_just_run_short(at.target, last_exchange_s, NOW_S, POLICY) is (action == Wait())


@pytest.mark.parametrize("free_mb", [0.0, 30.0, 54.0, 79.0, 129.0, 1000.0, None])
@pytest.mark.parametrize("budget_mb", [None, 25.0, 149.0, 174.0])
@pytest.mark.parametrize("reason", list(Reason))
def test_every_situation_comes_to_rest(reason: Reason, budget_mb: float | None, free_mb: float | None) -> None:
    """At most three changes of what is in memory, then an action that ends the step."""
    policy, readings = replace(POLICY, max_memory_mb=budget_mb), Readings(free_mb=free_mb)
    for target in FIGURES:
        for smallest in FIGURES:
            for live in FIGURES:
                for fallback in (None, *FIGURES):
                    at = situation(target, live, fallback, reason, smallest=smallest)
                    for _ in range(3):
                        action = plan(at, readings, policy, NOW_S)
                        if isinstance(action, Exchange):
                            assert action.subnet == at.fallback != at.live
                            at = replace(at, live=action.subnet)
                        elif isinstance(action, KeepAsFallback):
                            assert action.subnet == at.live != at.fallback
                            at = replace(at, fallback=action.subnet)
                        else:
                            break
                    else:
                        pytest.fail(f"{target} {smallest} {live} {fallback} goes on for ever")
