"""Whether vectors of different members can share an index: measured for each pair, recorded in the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedistill.distillation.batches import Encoded
from edgedistill.distillation.retrieval import neighbours, recall_at_k
from edgedistill.manifest import Mixing

__all__ = ["distinct_rows", "measure_mixing"]

_K = 10
_BOUND = 0.03
_MOST_TEXTS = 2000
_Vectors = NDArray[np.floating[Any]]


def distinct_rows(data: Encoded) -> list[int]:
    """The first row of each text, of at most so many texts: a text that is there twice is its own neighbour."""
    first = {ids: row for row, ids in reversed(list(enumerate(data.ids)))}
    return sorted(first.values())[:_MOST_TEXTS]


def measure_mixing(vectors: Mapping[str, _Vectors], split: str) -> Mixing | None:
    """Recall@10 of the first member's neighbours, for each member's queries in each member's index.

    ``vectors`` [N, d] by member, the largest first, of the same N distinct texts. None where they are too few.
    """
    reference, texts = next(iter(vectors)), len(next(iter(vectors.values())))
    if texts <= _K:
        return None
    truth = neighbours(vectors[reference], vectors[reference], _K, exclude_self=True)
    recall = {
        asked: {index: round(recall_at_k(queries, held, truth, _K), 5) for index, held in vectors.items()}
        for asked, queries in vectors.items()
    }
    return Mixing(k=_K, split=split, texts=texts, reference=reference, bound=_BOUND, recall=recall)
