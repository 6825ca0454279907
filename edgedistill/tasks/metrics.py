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


def class_metrics(predicted: ArrayLike, labels: ArrayLike, classes: int) -> dict[str, float]:
    """Return accuracy, F1 (of the second of two classes, or else the mean over classes) and Matthews' correlation."""
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of rows that are all of one class
        return {
            "accuracy": float(accuracy_score(labels, predicted)),
            "f1": float(f1_score(labels, predicted, average="binary" if classes == 2 else "macro", zero_division=0)),
            "matthews": float(matthews_corrcoef(labels, predicted)),
        }


def entity_metrics(predicted: Sequence[Sequence[str]], tags: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return the F1 of entities, right where first word, last word and type are (as conlleval), and tags' accuracy.

    A tag that is not in BIO form, as one of a part of speech, is an entity of one word.
    """
    from seqeval.metrics import f1_score
    from sklearn.metrics import accuracy_score

    bio = [[[_as_bio(tag) for tag in row] for row in rows] for rows in (tags, predicted)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of rows without entities
        return {
            "entity_f1": float(f1_score(*bio, zero_division=0)),
            "accuracy": float(accuracy_score(list(chain(*tags)), list(chain(*predicted)))),
        }


def entity_counts(predicted: Sequence[Sequence[str]], tags: Sequence[Sequence[str]]) -> NDArray[np.int64]:
    """Count by row [N, 3] the entities that are predicted right, all that are predicted, and all that are true."""
    from seqeval.metrics.sequence_labeling import get_entities

    rows = []
    for row_tags in zip(predicted, tags, strict=True):
        ours, theirs = (set(get_entities([_as_bio(tag) for tag in row])) for row in row_tags)
        rows.append((len(ours & theirs), len(ours), len(theirs)))
    return np.array(rows, dtype=np.int64)


def entity_f1(counts: NDArray[np.int64]) -> float:
    """Return the F1 of rows that `entity_counts` counted; 0 for rows without entities."""
    right, predicted, true = counts.sum(0).tolist()
    return 2 * right / (predicted + true) if predicted + true else 0.0


def _as_bio(tag: str) -> str:
    return tag if tag == "O" or tag.startswith(_BIO) else f"B-{tag}"


def correlations(predicted: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """Return Spearman's and Pearson's; 0 where they have no value: one row, or a side that is constant."""
    from scipy.stats import pearsonr, spearmanr

    if np.size(predicted) < 2:
        return {"spearman": 0.0, "pearson": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sides that are constant, or nearly
        by_rank, by_value = (float(test(predicted, labels)[0]) for test in (spearmanr, pearsonr))
    return {"spearman": _number(by_rank), "pearson": _number(by_value)}


def _number(value: float) -> float:
    return value if np.isfinite(value) else 0.0


def cosines(first: _Array, second: _Array) -> _Array:
    """Return the cosine of each row of ``first`` [N, d] with the same row of ``second``: [N]; 0 for a zero vector."""
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    result: _Array = (first * second).sum(-1) / np.maximum(lengths, np.finfo(first.dtype).tiny)
    return result


def binned_error(scores: _Array, right: ArrayLike) -> float:
    """Return by how much scores [n] and the share that is right [n] differ, in the mean over 15 bins of scores."""
    bins, excess = np.minimum((scores * _BINS).astype(int), _BINS - 1), scores - np.asarray(right, dtype=np.float64)
    gaps = [abs(excess[bins == at].sum()) for at in range(_BINS)]
    return round(float(np.sum(gaps)) / len(scores), 6)
