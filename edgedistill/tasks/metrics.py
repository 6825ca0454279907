"""The figures that people expect of each task, from the libraries that they expect them from; headline first."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "binned_error",
    "class_metrics",
    "correlations",
    "cosines",
    "entity_counts",
    "entity_f1",
    "entity_metrics",
]

_BIO = ("B-", "I-", "E-", "S-")  # first, inside, end and single word of an entity
_Array = NDArray[np.floating[Any]]
_BINS = 15


def class_metrics(found: ArrayLike, labels: ArrayLike, classes: int) -> dict[str, float]:
    """Accuracy, F1 (of the second of two classes, or else the mean over classes) and Matthews' correlation."""
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of rows that are all of one class
        return {
            "accuracy": float(accuracy_score(labels, found)),
            "f1": float(f1_score(labels, found, average="binary" if classes == 2 else "macro", zero_division=0)),
            "matthews": float(matthews_corrcoef(labels, found)),
        }


def entity_metrics(found: Sequence[Sequence[str]], tags: Sequence[Sequence[str]]) -> dict[str, float]:
    """F1 of entities over all rows, right where first word, last word and type are (as conlleval); tags' accuracy.

    A tag that is no BIO, as one of a part of speech, is an entity of one word.
    """
    from seqeval.metrics import f1_score
    from sklearn.metrics import accuracy_score

    bio = [[[_as_bio(tag) for tag in row] for row in rows] for rows in (tags, found)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of rows without entities
        return {
            "entity_f1": float(f1_score(*bio, zero_division=0)),
            "accuracy": float(accuracy_score(list(chain(*tags)), list(chain(*found)))),
        }


def entity_counts(found: Sequence[Sequence[str]], tags: Sequence[Sequence[str]]) -> NDArray[np.int64]:
    """By row [N, 3]: the entities that are right, that were found, and that there are."""
    from seqeval.metrics.sequence_labeling import get_entities

    rows = []
    for ours, theirs in zip(found, tags, strict=True):
        predicted, true = (set(get_entities([_as_bio(tag) for tag in row])) for row in (ours, theirs))
        rows.append((len(predicted & true), len(predicted), len(true)))
    return np.array(rows, dtype=np.int64)


def entity_f1(counts: NDArray[np.int64]) -> float:
    """F1 of rows that `entity_counts` counted; 0 where there are no entities."""
    right, found, true = counts.sum(0).tolist()
    return 2 * right / (found + true) if found + true else 0.0


def _as_bio(tag: str) -> str:
    return tag if tag == "O" or tag.startswith(_BIO) else f"B-{tag}"


def correlations(found: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """Spearman's and Pearson's; 0 where they have no value: one row, or a side that is constant."""
    from scipy.stats import pearsonr, spearmanr

    if np.size(found) < 2:
        return {"spearman": 0.0, "pearson": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sides that are constant, or nearly
        by_rank, by_value = (float(test(found, labels)[0]) for test in (spearmanr, pearsonr))
    return {"spearman": _number(by_rank), "pearson": _number(by_value)}


def _number(value: float) -> float:
    return value if np.isfinite(value) else 0.0


def cosines(first: _Array, second: _Array) -> _Array:
    """Of each row of the one [N, d] with the same row of the other: [N]; 0 for a vector of zeros."""
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    result: _Array = (first * second).sum(-1) / np.maximum(lengths, np.finfo(first.dtype).tiny)
    return result


def binned_error(scores: _Array, right: ArrayLike) -> float:
    """Return by how much scores [n] and the share that is right [n] differ, in the mean over 15 bins of scores."""
    bins, excess = np.minimum((scores * _BINS).astype(int), _BINS - 1), scores - np.asarray(right, dtype=np.float64)
    gaps = [abs(excess[bins == at].sum()) for at in range(_BINS)]
    return round(float(np.sum(gaps)) / len(scores), 6)
