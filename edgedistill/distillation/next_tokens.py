"""How well next tokens are told, added up as they are answered: all logits at once would be too many to hold.

Shapes: N rows, u units (tokens that are told), c outputs of each (the vocabulary).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from edgedistill.distillation.batches import Batch, Encoded, make_batch

__all__ = ["TokenFigures", "token_figures"]

_MOST = 1 << 24  # logits that are held at once: 64 MB
_LARGEST_NATS = 700.0  # whose exponential is still a number


@dataclass(frozen=True)
class TokenFigures:
    """By row [N]: how many tokens were told right, their nats in all, and how many there were."""

    right: NDArray[np.float64]
    nats: NDArray[np.float64]
    tokens: NDArray[np.float64]

    @classmethod
    def empty(cls, rows: int) -> TokenFigures:
        """Nothing yet of so many rows."""
        return cls(np.zeros(rows), np.zeros(rows), np.zeros(rows))

    def add(self, row: int, logits: Tensor, labels: Tensor) -> None:
        """Add to a row what was answered [u, c] to some of its units, and what is right [u]."""
        logits = logits.float()
        self.right[row] += float((logits.argmax(-1) == labels).sum())
        self.nats[row] += float(F.cross_entropy(logits, labels, reduction="none").double().sum())
        self.tokens[row] += len(labels)

    def metrics(self, rows: NDArray[np.intp] | None = None) -> dict[str, float]:
        """The share of tokens that were told right, and the perplexity e^(mean nats); of some rows alone if given."""
        chosen = slice(None) if rows is None else rows
        accuracy = self.right[chosen].sum() / self.tokens[chosen].sum()
        return {"next_token_accuracy": float(accuracy), "perplexity": math.exp(min(self.loss(rows), _LARGEST_NATS))}

    def loss(self, rows: NDArray[np.intp] | None = None) -> float:
        """Mean nats a token."""
        chosen = slice(None) if rows is None else rows
        return float(self.nats[chosen].sum() / self.tokens[chosen].sum())


def token_figures(data: Encoded, vocabulary: int, run: Callable[[Batch], Tensor]) -> TokenFigures:
    """What ``run`` is worth, which answers a batch with logits [b, n, c], a few rows at a time."""
    figures = TokenFigures.empty(len(data))
    for rows in _parts(data, vocabulary):
        batch = make_batch(data, rows)
        logits = run(batch)
        assert batch.units is not None
        for place, row in enumerate(rows):
            units = batch.units[place].to(logits.device)
            labels = data.unit_labels([row])
            assert labels is not None
            figures.add(row, logits[place][units], labels.to(logits.device))
    return figures


def _parts(data: Encoded, vocabulary: int) -> Iterator[Sequence[int]]:
    """Rows whose logits may be held together."""
    longest = max(map(len, data.ids))
    size = max(1, min(64, _MOST // (longest * vocabulary)))
    return (range(start, min(start + size, len(data))) for start in range(0, len(data), size))
