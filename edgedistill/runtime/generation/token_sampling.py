"""From logits to the next token: the likeliest, or one drawn from the likely ones.

Shapes: v entries of the vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedistill.errors import InputError
from edgedistill.runtime.arguments import is_integer, is_real

__all__ = ["Sampler", "Sampling", "probabilities"]

# At a millionth a token that is behind by 1e-4 in its logit has a probability of e^-100: nothing is left to draw.
_GREEDY_BELOW = 1e-6


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn.

    Attributes:
        temperature: what logits are divided by; 0, and anything below a millionth, takes the likeliest token, whatever
            else is asked for.
        top_k: how many of the likeliest tokens may be drawn; None for all.
        top_p: of these the fewest, from the likeliest on, that hold this share of the probability; None for all.
        seed: of the draws; None for other ones each time.

    Raises:
        InputError: a value is out of its range.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if not (is_real(self.temperature) and 0 <= _as_float(self.temperature) < math.inf):
            raise InputError(f"temperature is {self.temperature!r}; expected 0 for the likeliest token, or more")
        if self.top_k is not None and not (is_integer(self.top_k) and self.top_k >= 1):
            raise InputError(f"top_k is {self.top_k!r}; expected a whole number from 1 on, or None for all tokens")
        if self.top_p is not None and not (is_real(self.top_p) and 0 < self.top_p <= 1):
            raise InputError(f"top_p is {self.top_p!r}; expected a share over 0, at most 1, or None for all tokens")
        if self.seed is not None and not (is_integer(self.seed) and self.seed >= 0):
            raise InputError(f"seed is {self.seed!r}; expected a whole number from 0 on, or None")

    @property
    def is_greedy(self) -> bool:
        """The likeliest token is taken each time."""
        return self.temperature < _GREEDY_BELOW


def _as_float(value: float) -> float:
    """Return a number of any type, a whole one of any size, as a float."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


class Sampler:
    """Draws one token after another; of one generation."""

    def __init__(self, how: Sampling) -> None:
        self._how = how
        # Where nothing is drawn, none: a generator's beginning is a quarter of a millisecond of a first token.
        self._random = None if how.is_greedy else np.random.default_rng(how.seed)

    def pick(self, logits: NDArray[np.float32]) -> int | None:
        """The next token, from logits [v]; None where one is not a number, or none is the largest.

        A logit of minus infinity is that of a token that may never be drawn.
        """
        likeliest = int(logits.argmax())  # of a NaN, wherever there is one
        if not math.isfinite(logits[likeliest]):
            return None
        if self._random is None:
            return likeliest
        tokens, shares = probabilities(logits, self._how)
        place = np.searchsorted(shares.cumsum(), self._random.random() * shares.sum(), side="right")
        return int(tokens[min(int(place), len(tokens) - 1)])


def probabilities(logits: NDArray[np.float32], how: Sampling) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The tokens that may be drawn from logits [v], likeliest first where they were sorted, and their probabilities.

    The temperature must not be 0. Of equal logits at the edge of ``top_k`` any may be left out.
    """
    tokens = np.arange(len(logits))
    if how.top_k is not None and how.top_k < len(logits):
        tokens = np.argpartition(logits, -how.top_k)[-how.top_k :]
    scaled = logits[tokens].astype(np.float64) / float(how.temperature)
    shares = np.exp(scaled - scaled.max())
    shares /= shares.sum()
    if how.top_p is None or how.top_p == 1:
        return tokens, shares
    # Those below the mean of what may be left out hold less than that together: only the others need sorting.
    likely = np.flatnonzero(shares >= (1 - how.top_p) / len(shares))
    order = likely[np.argsort(-shares[likely], kind="stable")]
    before = shares[order].cumsum() - shares[order]
    order = order[before < how.top_p]
    return tokens[order], shares[order] / shares[order].sum()
