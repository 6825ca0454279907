"""Measure index compatibility: whether one member's queries find the same neighbours in another's index.

Shapes: q queries, N vectors of an index, d their dimension, k neighbours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedistill.errors import DataError

__all__ = ["neighbours", "recall_at_k"]

_Vectors = NDArray[np.floating[Any]]
_CHUNK = 1024  # queries at once: a whole matrix of similarities may not fit


def neighbours(queries: _Vectors, index: _Vectors, k: int, *, exclude_self: bool) -> NDArray[np.intp]:
    """Return the rows [q, k] of the index [N, d] that are nearest to each query [q, d] by cosine, in no order.

    With ``exclude_self`` query i is of the same text as row i of the index, which is then not its neighbour.

    Raises:
        DataError: the index has fewer than k rows to choose from.
    """
    if len(index) - exclude_self < k:
        raise DataError(f"an index of {len(index)} vectors has no {k} neighbours for a query; give more texts")
    queries, index = _unit(queries), _unit(index)
    nearest = []
    for start in range(0, len(queries), _CHUNK):
        similarity = queries[start : start + _CHUNK] @ index.T
        if exclude_self:
            own = np.arange(len(similarity))
            similarity[own, start + own] = -np.inf
        nearest.append(np.argpartition(-similarity, k - 1, axis=1)[:, :k])
    return np.concatenate(nearest)


def recall_at_k(queries: _Vectors, index: _Vectors, truth: NDArray[np.intp], k: int = 10) -> float:
    """Return the share of true neighbours [q, k] that queries [q, d] find among k in an index [N, d] of the same texts.

    ``truth`` are the neighbours in a space of reference, as `neighbours` gives them.
    """
    nearest = neighbours(queries, index, k, exclude_self=True)
    shared = [len(np.intersect1d(ours, theirs)) for ours, theirs in zip(nearest, truth, strict=True)]
    return float(np.mean(shared)) / k


def _unit(vectors: _Vectors) -> _Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    result: _Vectors = vectors / np.maximum(lengths, np.finfo(vectors.dtype).tiny)
    return result
