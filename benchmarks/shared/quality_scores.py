"""Score subnets on test, and compare two of them by a paired bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgedistill.data.dataset import TaskData
from edgedistill.tasks import task_of

_DRAWS = 1000  # of the bootstrap


ScoreOf = Callable[[NDArray[np.intp]], float]


def score_of(data: TaskData, outputs: NDArray[np.float32], split: str = "test") -> tuple[ScoreOf, int]:
    """Return the headline metric as a function of a choice of a split's examples, and how many there are."""
    labels, task = getattr(data, split).labels, task_of(data.task)
    values, examples = task.resampled(outputs, labels, data.label_names, None)
    return (lambda rows: values(rows)[task.headline]), examples


def whole(data: TaskData, outputs: NDArray[np.float32], split: str = "test") -> float:
    """Return the headline metric on all of a split."""
    score, examples = score_of(data, outputs, split)
    return score(np.arange(examples))


@dataclass(frozen=True)
class Difference:
    """Ours less theirs in points, with a paired bootstrap's 95 % interval over test examples."""

    points: float
    low: float
    high: float

    def as_list(self) -> list[float]:
        """Return the figures for JSON."""
        return [round(value, 3) for value in (self.points, self.low, self.high)]


def differences(
    data: TaskData, pairs: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]
) -> tuple[list[Difference], Difference]:
    """Return the difference of each pair (ours, theirs) of outputs on test, and their mean, by the same draws."""
    scores = [(score_of(data, ours), score_of(data, theirs)) for ours, theirs in pairs]
    examples = scores[0][0][1]
    rng = np.random.default_rng(0)
    draws = [np.arange(examples), *(rng.integers(0, examples, examples) for _ in range(_DRAWS))]
    found = np.array([[100 * (ours(rows) - theirs(rows)) for (ours, _), (theirs, _) in scores] for rows in draws])
    return [_difference(column) for column in found.T], _difference(found.mean(1))


def _difference(drawn: NDArray[np.float64]) -> Difference:
    low, high = np.percentile(drawn[1:], [2.5, 97.5])
    return Difference(float(drawn[0]), float(low), float(high))
