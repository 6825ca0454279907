"""What a task means to training: its outputs, its losses, and its metrics.

Shapes: u units (rows, or labelled words), c outputs of each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional as F

from edgedistill.distillation.batches import Batch
from edgedistill.distillation.metrics import (
    class_metrics,
    correlations,
    cosines,
    entity_counts,
    entity_f1,
    entity_metrics,
)
from edgedistill.distillation.next_tokens import TokenFigures
from edgedistill.manifest import MEAN_ABSOLUTE_ERROR
from edgedistill.subnet import TaskName

__all__ = ["Task", "task_of"]

_Array = NDArray[np.floating[Any]]
_Rows = NDArray[np.intp]
_Tags = list[list[str]]


class Task(ABC):
    """One task.

    Attributes:
        name: as users write it.
        headline: the metric that stands for the others.
        agreement: the metric that stands in for it where there are no labels.
        beside: the metrics that a palette tells beside the headline.
        learns_from_labels: whether there is a hard loss.
        watched_rows: of validation, for the scores after each epoch.
    """

    name: TaskName
    headline: str
    agreement: str
    beside: tuple[str, ...] = ()
    learns_from_labels: bool = True
    watched_rows: int = 1000

    def select(self, outputs: Tensor, batch: Batch) -> Tensor:
        """The model's outputs, [b, c] or [b, n, c] → those of the batch's units [u, c].

        In fp32 whatever the precision of products: the divergence of near-equal distributions needs its digits.
        """
        return (outputs if batch.units is None else outputs[batch.units]).float()

    @abstractmethod
    def outputs(self, labels: int, hidden: int, /) -> int:
        """How many outputs a unit has, for so many label names and such a hidden width."""

    @abstractmethod
    def hard_loss(self, outputs: Tensor, labels: Tensor, /) -> Tensor:
        """Of outputs [u, c] against labels [u]: [u], not reduced."""

    @abstractmethod
    def soft_loss(self, outputs: Tensor, teacher: Tensor, temperature: float, /) -> Tensor:
        """Of outputs [u, c] against the teacher's [u, c]: [u], not reduced."""

    def hard_sum(self, outputs: Tensor, _teacher: Tensor | None, labels: Tensor | None, /) -> Tensor:
        """The sum of `hard_loss`: a scalar."""
        assert labels is not None
        return self.hard_loss(outputs, labels).sum()

    def mixed_sum(self, alpha: float, temperature: float) -> Callable[[Tensor, Tensor | None, Tensor | None], Tensor]:
        """What gives the sum over units of (1 − α)·`hard_loss` + α·`soft_loss`: a scalar."""

        def loss(outputs: Tensor, teacher: Tensor | None, labels: Tensor | None, /) -> Tensor:
            total = outputs.new_zeros(())
            if alpha < 1:
                total = total + (1 - alpha) * self.hard_sum(outputs, teacher, labels)
            if teacher is not None:
                total = total + alpha * self.soft_loss(outputs, teacher, temperature).sum()
            return total

        return loss

    @abstractmethod
    def metrics(self, outputs: _Array, labels: Sequence[Any], names: Sequence[str], /) -> dict[str, float]:
        """The scores of outputs [units of all rows, c] against ``labels`` by row; the headline first."""

    @abstractmethod
    def agreements(self, outputs: _Array, teacher: _Array, /) -> dict[str, float]:
        """How far outputs [u, c] are those of the teacher."""

    def redrawn(
        self, outputs: _Array, labels: Sequence[Any] | None, names: Sequence[str], teacher: _Array | None, /
    ) -> tuple[Callable[[_Rows], dict[str, float]], int]:
        """The figures that a palette tells, of any choice of examples, and how many there are to choose from.

        The headline is the first. Examples are rows, or units where the teacher is compared with.
        """
        if labels is not None:
            return self._redrawn(outputs, labels, names)
        assert teacher is not None
        return (lambda rows: self.agreements(outputs[rows], teacher[rows])), len(outputs)

    def _redrawn(
        self, outputs: _Array, labels: Sequence[Any], names: Sequence[str], /
    ) -> tuple[Callable[[_Rows], dict[str, float]], int]:
        given = np.asarray(labels)

        def told(rows: _Rows) -> dict[str, float]:
            found = self.metrics(outputs[rows], given[rows].tolist(), names)
            return {metric: found[metric] for metric in (self.headline, *self.beside)}

        return told, len(given)


class _Classes(Task):
    """Outputs are logits of classes."""

    agreement = "agreement"

    def outputs(self, labels: int, _hidden: int, /) -> int:
        return labels

    def hard_loss(self, outputs: Tensor, labels: Tensor, /) -> Tensor:
        """Cross-entropy."""
        return F.cross_entropy(outputs, labels, reduction="none")

    def soft_loss(self, outputs: Tensor, teacher: Tensor, temperature: float, /) -> Tensor:
        """T²·KL(teacher‖outputs), both softened by T (§3 of the paper; T² keeps its gradient's size)."""
        ours, theirs = ((logits / temperature).log_softmax(-1) for logits in (outputs, teacher))
        return temperature**2 * F.kl_div(ours, theirs, reduction="none", log_target=True).sum(-1)

    def agreements(self, outputs: _Array, teacher: _Array, /) -> dict[str, float]:
        """The share of units with the same class on top."""
        return {self.agreement: float((outputs.argmax(-1) == teacher.argmax(-1)).mean())}


class _TextClassification(_Classes):
    name = "text-classification"
    headline = "accuracy"

    def metrics(self, outputs: _Array, labels: Sequence[Any], _names: Sequence[str], /) -> dict[str, float]:
        return class_metrics(outputs.argmax(-1), labels, outputs.shape[-1])


class _NextToken(_Classes):
    """Every token but a row's first is a class that the one before it tells; see `TokenFigures` for its metrics."""

    name = "text-generation"
    headline = "next_token_accuracy"
    watched_rows = 128

    def metrics(self, outputs: _Array, labels: Sequence[Any], _names: Sequence[str], /) -> dict[str, float]:
        figures = TokenFigures.empty(1)
        figures.add(0, torch.from_numpy(outputs), torch.tensor([tag for row in labels for tag in row]))
        return figures.metrics()


class _TokenClassification(_Classes):
    name = "token-classification"
    headline = "entity_f1"

    def metrics(self, outputs: _Array, labels: Sequence[Any], names: Sequence[str], /) -> dict[str, float]:
        """Over the words that are in the rows: those that were cut off have neither an output nor a label."""
        return entity_metrics(*self._named(outputs, labels, names))

    def _redrawn(
        self, outputs: _Array, labels: Sequence[Any], names: Sequence[str], /
    ) -> tuple[Callable[[_Rows], dict[str, float]], int]:
        counts = entity_counts(*self._named(outputs, labels, names))
        return (lambda rows: {self.headline: entity_f1(counts[rows])}), len(counts)

    def _named(self, outputs: _Array, labels: Sequence[Any], names: Sequence[str]) -> tuple[_Tags, _Tags]:
        """The tags by row that were found, and those that are right."""
        ends = np.cumsum([len(row) for row in labels])[:-1]
        found, right = (
            [[names[i] for i in row] for row in rows] for rows in (np.split(outputs.argmax(-1), ends), labels)
        )
        return found, right


class _Numbers(Task):
    """Outputs are compared as they are: they have no temperature."""

    def soft_loss(self, outputs: Tensor, teacher: Tensor, _temperature: float, /) -> Tensor:
        """The squared distance; of unit vectors it is 2 − 2·cos."""
        return (outputs - teacher).square().sum(-1)


class _Regression(_Numbers):
    name = "text-regression"
    headline = "spearman"
    agreement = "spearman_to_teacher"
    beside = ("pearson", MEAN_ABSOLUTE_ERROR)

    def outputs(self, _labels: int, _hidden: int, /) -> int:
        return 1

    def hard_loss(self, outputs: Tensor, labels: Tensor, /) -> Tensor:
        """The squared error."""
        return (outputs[:, 0] - labels).square()

    def metrics(self, outputs: _Array, labels: Sequence[Any], _names: Sequence[str], /) -> dict[str, float]:
        """Correlations, which no affine change of the outputs alters, and the mean absolute error, which sees it."""
        return {**correlations(outputs[:, 0], labels), MEAN_ABSOLUTE_ERROR: _mean_gap(outputs[:, 0], labels)}

    def agreements(self, outputs: _Array, teacher: _Array, /) -> dict[str, float]:
        """Spearman's correlation with the teacher, and the mean distance from it."""
        ours, theirs = outputs[:, 0], teacher[:, 0]
        return {
            self.agreement: correlations(ours, theirs)["spearman"],
            f"{MEAN_ABSOLUTE_ERROR}_to_teacher": _mean_gap(ours, theirs),
        }


def _mean_gap(ours: ArrayLike, theirs: ArrayLike) -> float:
    gaps = np.abs(np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64))
    return float(gaps.mean())


class _Embedding(_Numbers):
    """Unit vectors of the teacher's dimension. A pair with a score is two rows, one after the other."""

    name = "sentence-embedding"
    headline = "spearman"
    agreement = "cosine_to_teacher"
    learns_from_labels = False

    def outputs(self, _labels: int, hidden: int, /) -> int:
        return hidden

    def hard_loss(self, _outputs: Tensor, _labels: Tensor, /) -> Tensor:
        raise NotImplementedError("sentence embeddings learn from a teacher alone")

    def metrics(self, outputs: _Array, labels: Sequence[Any], _names: Sequence[str], /) -> dict[str, float]:
        """Of the pairs' cosines against their scores, which both rows of a pair have."""
        return correlations(cosines(outputs[::2], outputs[1::2]), labels[::2])

    def _redrawn(
        self, outputs: _Array, labels: Sequence[Any], _names: Sequence[str], /
    ) -> tuple[Callable[[_Rows], dict[str, float]], int]:
        alike, given = cosines(outputs[::2], outputs[1::2]), np.asarray(labels[::2])
        return (lambda rows: {self.headline: correlations(alike[rows], given[rows])[self.headline]}), len(given)

    def agreements(self, outputs: _Array, teacher: _Array, /) -> dict[str, float]:
        return {self.agreement: float(cosines(outputs, teacher).mean())}


_TASKS: tuple[Task, ...] = (_TextClassification(), _Regression(), _TokenClassification(), _Embedding(), _NextToken())


def task_of(name: TaskName) -> Task:
    """The task of that name."""
    return next(task for task in _TASKS if task.name == name)
