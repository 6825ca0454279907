"""Score next tokens as they are answered: all logits at once would be too many to hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor

from edgedistill.data.batches import Batch, Encoded, make_batch
from edgedistill.tasks.text_generation import TokenFigures

__all__ = ["token_figures"]

_MAX_LOGITS_AT_ONCE = 1 << 24  # 64 MB


def token_figures(data: Encoded, vocabulary: int, run: Callable[[Batch], Tensor]) -> TokenFigures:
    """Score ``run``, which answers a batch with logits [b, n, c], a few rows at a time."""
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
    """Return rows whose logits may be held together."""
    longest = max(map(len, data.ids))
    size = max(1, min(64, _MAX_LOGITS_AT_ONCE // (longest * vocabulary)))
    return (range(start, min(start + size, len(data))) for start in range(0, len(data), size))
