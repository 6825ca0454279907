"""Sample the next token from logits: the likeliest, or one of the likely ones.

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
    """Set how tokens are sampled.

    Attributes:
        temperature: the divisor of logits; 0, and anything below a millionth, is greedy decoding, whatever the others.
        top_k: sample from this many of the likeliest tokens; None for all.
        top_p: sample from the fewest likeliest of them with this total probability; None for all.
        seed: seed of the sampling; None for another one each time.

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
        """Return whether the likeliest token is always taken."""
        return self.temperature < _GREEDY_BELOW


def _as_float(value: float) -> float:
    """Return a number of any type, a whole one of any size, as a float."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


class Sampler:
    """Sample the tokens of one generation."""

    def __init__(self, how: Sampling) -> None:
        self._how = how
        # None for greedy decoding: creating a generator takes a quarter of a millisecond of the first token.
        self._random = None if how.is_greedy else np.random.default_rng(how.seed)

    def pick(self, logits: NDArray[np.float32]) -> int | None:
        """Return the next token from logits [v]; None if one is NaN, or the largest is infinite.

        A token with a logit of minus infinity is never sampled.
        """
        likeliest = int(logits.argmax())  # a NaN, if there is one
        if not math.isfinite(logits[likeliest]):
            return None
        if self._random is None:
            return likeliest
        tokens, shares = probabilities(logits, self._how)
        place = np.searchsorted(shares.cumsum(), self._random.random() * shares.sum(), side="right")
        return int(tokens[min(int(place), len(tokens) - 1)])


def probabilities(logits: NDArray[np.float32], how: Sampling) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return the tokens that may be sampled from logits [v], and their probabilities; with ``top_p`` likeliest first.

    The temperature must not be 0. Of equal logits at the limit of ``top_k`` any may be left out.
    """
    tokens = np.arange(len(logits))
    if how.top_k is not None and how.top_k < len(logits):
        tokens = np.argpartition(logits, -how.top_k)[-how.top_k :]
    scaled = logits[tokens].astype(np.float64) / float(how.temperature)
    shares = np.exp(scaled - scaled.max())
    shares /= shares.sum()
    if how.top_p is None or how.top_p == 1:
        return tokens, shares
    # Tokens below the mean of the excluded probability have less than it in total: only the others need sorting.
    likely = np.flatnonzero(shares >= (1 - how.top_p) / len(shares))
    order = likely[np.argsort(-shares[likely], kind="stable")]
    before = shares[order].cumsum() - shares[order]
    order = order[before < how.top_p]
    return tokens[order], shares[order] / shares[order].sum()
