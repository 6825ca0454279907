from __future__ import annotations

from dataclasses import replace

import pytest

from edgedistill.runtime.control.decide import Reason
from edgedistill.runtime.generation.migration import Migration, is_worth_it

# 100 tokens made of 200, after a prompt of 50; the better subnet takes 2 ms a token where this one takes 1.
BETTER = Migration(
    Reason.BETTER_FITS,
    from_fallback=False,
    is_same_palette=True,
    step_ms=1.0,
    new_step_ms=2.0,
    prefill_ms=40.0,
    tokens=150,
    made=100,
    most=200,
)


@pytest.mark.parametrize(
    "reason",
    [
        Reason.LOW_MEMORY,
        Reason.TOO_SLOW,
        Reason.TOO_HOT,
        Reason.NO_FIT_SMALLEST,
        Reason.QUARANTINED,
        Reason.PINNED,
    ],
)
def test_what_is_forced_is_done_at_once_whatever_it_costs(reason: Reason) -> None:
    dear = replace(BETTER, reason=reason, prefill_ms=1e9, made=199)
    assert is_worth_it(dear)
    assert is_worth_it(replace(dear, prefill_ms=None, step_ms=None))


@pytest.mark.parametrize("reason", [Reason.LOW_MEMORY, Reason.TOO_SLOW, Reason.QUARANTINED, Reason.TOO_HOT])
def test_nothing_forces_a_text_off_the_smallest_but_a_pin(reason: Reason) -> None:
    on_fallback = replace(BETTER, from_fallback=True, prefill_ms=1e9)
    assert not is_worth_it(replace(on_fallback, reason=reason))
    assert is_worth_it(replace(on_fallback, reason=Reason.PINNED))


@pytest.mark.parametrize(
    ("changes", "is_worth"),
    [
        ({}, True),  # 40 ms of a pause, and 100 tokens of 2 ms to come: a quarter is 50
        ({"prefill_ms": 51.0}, False),
        ({"made": 20}, False),  # at 20 tokens it is expected to go on for 20
        ({"made": 190}, False),  # 10 are left
        ({"made": 80, "prefill_ms": 40.0}, True),
        # Faster: as much as it saves.
        ({"new_step_ms": 0.5, "prefill_ms": 50.0}, True),
        ({"new_step_ms": 0.5, "prefill_ms": 51.0}, False),
        # Nothing is known of the prefill: then each token as if by itself, 150 of them.
        ({"prefill_ms": None}, False),
        ({"prefill_ms": None, "tokens": 25}, True),
        # Nothing is known at all.
        ({"step_ms": None}, False),
        ({"new_step_ms": None}, False),
        # A text ends with the palette that it began with.
        ({"reason": Reason.RELOADED, "is_same_palette": False, "prefill_ms": 0.0}, False),
    ],
)
def test_what_is_only_better_or_faster_must_be_worth_its_prefill(changes: dict[str, object], is_worth: bool) -> None:
    assert is_worth_it(replace(BETTER, **changes)) is is_worth  # type: ignore[arg-type]
