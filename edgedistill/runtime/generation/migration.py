"""Decide whether a generation follows a change of the active subnet: a pure function.

Each subnet has a cache of its own, so another one must re-prefill all tokens so far. If the change was for a lack of
memory, a broken budget, heat, a failure or a pin, that is the price. If the other subnet is only better or faster, the
prefill must pay off in the rest of the text. Its length is unknown: a text is expected to double, up to its maximum.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgedistill.runtime.control.decide import Reason

__all__ = ["Migration", "is_worth_it"]

_MAX_PAUSE_SHARE = 0.25  # of the time of the rest on a better subnet: the price of its quality
_BY_CHOICE = {Reason.BETTER_FITS, Reason.RELOADED}


@dataclass(frozen=True, slots=True)
class Migration:
    """Describe a move from a generation's subnet to the active one.

    Attributes:
        reason: why the active subnet was last exchanged.
        from_fallback: whether it is on the fallback, which stays in memory and is the fastest.
        is_same_palette: whether both subnets are of the same palette.
        step_ms: expected time of a token on the present subnet; None if unknown.
        new_step_ms: expected time of a token on the active subnet; None if unknown.
        prefill_ms: expected time of the prefill of all tokens so far; None if unknown.
        tokens: number of tokens so far, prompt included.
        made: number of tokens generated so far.
        most: maximum number of tokens to generate.
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
        """Return whether the generation cannot stay."""
        return self.reason is Reason.PINNED or not (self.from_fallback or self.reason in _BY_CHOICE)


def is_worth_it(move: Migration) -> bool:
    """Return whether to move now; the next token decides again."""
    if move.is_forced:
        return True
    if not move.is_same_palette:
        return False  # a text ends with the palette that it began with
    if move.step_ms is None or move.new_step_ms is None:
        return False  # decided after a few tokens
    left = min(move.made, move.most - move.made)
    # If unknown, assume the most that it can be: each token by itself.
    prefill_ms = move.tokens * move.new_step_ms if move.prefill_ms is None else move.prefill_ms
    saved_ms = left * (move.step_ms - move.new_step_ms)
    return prefill_ms <= (saved_ms if saved_ms > 0 else _MAX_PAUSE_SHARE * left * move.new_step_ms)
