"""Measure index compatibility: whether vectors of two members can share an index, for each pair of members."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedistill.data.batches import Encoded
from edgedistill.distillation.retrieval import neighbours, recall_at_k
from edgedistill.palette import Mixing

__all__ = ["distinct_rows", "measure_mixing"]

_NEIGHBOURS = 10
_MAX_RECALL_LOSS = 0.03
_MAX_TEXTS = 2000
_Vectors = NDArray[np.floating[Any]]


def distinct_rows(data: Encoded) -> list[int]:
    """Return the first row of each distinct text, at most `_MAX_TEXTS`: a repeated text would be its own neighbour."""
    first = {ids: row for row, ids in reversed(list(enumerate(data.ids)))}
    return sorted(first.values())[:_MAX_TEXTS]


def measure_mixing(vectors: Mapping[str, _Vectors], split: str) -> Mixing | None:
    """Return recall@10 of the first member's neighbours, for each member's queries in each member's index.

    ``vectors`` [N, d] by member, the largest first, of the same N distinct texts. Return None for ten texts or fewer.
    """
    reference, texts = next(iter(vectors)), len(next(iter(vectors.values())))
    if texts <= _NEIGHBOURS:
        return None
    truth = neighbours(vectors[reference], vectors[reference], _NEIGHBOURS, exclude_self=True)
    recall = {
        query_member: {
            index_member: round(recall_at_k(queries, indexed, truth, _NEIGHBOURS), 5)
            for index_member, indexed in vectors.items()
        }
        for query_member, queries in vectors.items()
    }
    return Mixing(k=_NEIGHBOURS, split=split, texts=texts, reference=reference, bound=_MAX_RECALL_LOSS, recall=recall)
