"""Whether a generation follows when another subnet serves: a pure function.

On another subnet all tokens so far have to be read again (the prefill), since each subnet has a cache of its own. Where
the subnet was left for a lack of memory, a broken budget, heat, a failure or by a pin, that is the price. Where another
is only better or faster, it must be worth it in what is left of the text. How much that is nobody knows; a text is
expected to go on for as long as it has, and no longer than it may.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgedistill.runtime.control.decide import Reason

__all__ = ["Migration", "is_worth_it"]

_MOST_PAUSE = 0.25  # of the time that the rest takes on a better subnet: what its quality may cost
_BY_CHOICE = {Reason.BETTER_FITS, Reason.RELOADED}


@dataclass(frozen=True, slots=True)
class Migration:
    """From the subnet that a generation is on to the one that serves.

    Attributes:
        reason: why what serves was exchanged last.
        from_fallback: whether it is on the smallest subnet, which stays in memory, and which nothing is faster than.
        is_same_palette: whether both are of one palette.
        step_ms: expected time of a token where it is; None if unknown.
        new_step_ms: and on the other.
        prefill_ms: expected time of reading all tokens so far; None if unknown.
        tokens: how many it has so far, the prompt's too.
        made: how many of them were generated.
        most: how many may be.
    """

    reason: Reason
    from_fallback: bool
    is_same_palette: bool
    step_ms: float | None
    new_step_ms: float | None
    prefill_ms: float | None
    tokens: int
    made: int
    most: int

    @property
    def is_forced(self) -> bool:
        """Whether it cannot stay."""
        return self.reason is Reason.PINNED or not (self.from_fallback or self.reason in _BY_CHOICE)


def is_worth_it(move: Migration) -> bool:
    """Whether to move now; a generation that stays is asked again at its next token."""
    if move.is_forced:
        return True
    if not move.is_same_palette:
        return False  # a text that began with one ends with it
    if move.step_ms is None or move.new_step_ms is None:
        return False  # a few tokens will tell
    left = min(move.made, move.most - move.made)
    # Unknown, it is taken for the most that it can be: each token by itself.
    prefill_ms = move.tokens * move.new_step_ms if move.prefill_ms is None else move.prefill_ms
    saved_ms = left * (move.step_ms - move.new_step_ms)
    return prefill_ms <= (saved_ms if saved_ms > 0 else _MOST_PAUSE * left * move.new_step_ms)
