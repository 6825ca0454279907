"""Text generation: the next token, from the tokens before it.

Shapes: N rows, u units (tokens to predict), c outputs of each (the vocabulary).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgedistill.tasks.fields import RawLabel, Text
from edgedistill.tasks.kinds import ClassTask

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from edgedistill.tasks.task import Outputs

__all__ = ["TASK", "TokenFigures"]

_LARGEST_NATS = 700.0  # whose exponential is still a number


@dataclass(frozen=True)
class TokenFigures:
    """Hold by row [N] how many tokens were predicted right, their nats in all, and how many there were."""

    right: NDArray[np.float64]
    nats: NDArray[np.float64]
    tokens: NDArray[np.float64]

    @classmethod
    def empty(cls, rows: int) -> TokenFigures:
        """Return the figures of a number of rows before any token."""
        import numpy as np

        return cls(np.zeros(rows), np.zeros(rows), np.zeros(rows))

    def add(self, row: int, logits: Tensor, labels: Tensor) -> None:
        """Add to a row the logits [u, c] of some of its units, and the right tokens [u]."""
        from torch.nn import functional as F

        logits = logits.float()
        self.right[row] += float((logits.argmax(-1) == labels).sum())
        self.nats[row] += float(F.cross_entropy(logits, labels, reduction="none").double().sum())
        self.tokens[row] += len(labels)

    def metrics(self, rows: NDArray[np.intp] | None = None) -> dict[str, float]:
        """Return the share of tokens predicted right, and the perplexity e^(mean nats); ``rows``: of these alone."""
        chosen = slice(None) if rows is None else rows
        accuracy = self.right[chosen].sum() / self.tokens[chosen].sum()
        return {"next_token_accuracy": float(accuracy), "perplexity": math.exp(min(self.loss(rows), _LARGEST_NATS))}

    def loss(self, rows: NDArray[np.intp] | None = None) -> float:
        """Return the mean nats a token."""
        chosen = slice(None) if rows is None else rows
        return float(self.nats[chosen].sum() / self.tokens[chosen].sum())


class _TextGeneration(ClassTask):
    """Every token but a row's first is a class, to be predicted from those before it."""

    name = "text-generation"
    headline = "next_token_accuracy"
    max_texts = 1
    has_classes = False
    is_own_label = True
    generates = True
    watched_rows = 128
    recipe_changes = {  # noqa: RUF012 (never changed)
        "head_shares": (1.0, 0.75, 0.5),
        "ffn_shares": (1.0, 0.75, 0.5),
        "depth_shares": (1.0, 5 / 6, 2 / 3),
    }
    answered_by = ("TextGenerator", "stream")

    def label(self, _value: Any, _names: Sequence[str], _text: Text, _place: str) -> RawLabel:
        raise NotImplementedError("text is its own label")

    def metrics(self, outputs: Outputs, labels: Sequence[Any], _names: Sequence[str], /) -> dict[str, float]:
        import torch

        figures = TokenFigures.empty(1)
        figures.add(0, torch.from_numpy(outputs), torch.tensor([tag for row in labels for tag in row]))
        return figures.metrics()


TASK = _TextGeneration()
