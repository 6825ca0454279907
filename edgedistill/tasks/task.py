"""The base of all tasks: what training, export, runtime and command line need to know of one.

Shapes: u units (rows, or labelled words), c outputs of each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from edgedistill.tasks.fields import RawLabel, Text, parse_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Outputs = NDArray[np.floating[Any]]
    Rows = NDArray[np.intp]

__all__ = [
    "MEAN_ABSOLUTE_ERROR",
    "Labelled",
    "Record",
    "Resampled",
    "Task",
    "run_record",
]

MEAN_ABSOLUTE_ERROR: Final = "mean_absolute_error"
"""A metric of regressions, in the unit of the labels."""

Record = dict[str, Any]
Resampled = tuple[Callable[["Rows"], dict[str, float]], int]
"""The metrics of any choice of examples, and how many examples there are."""
Labelled = tuple[Sequence[Text], Sequence[Any]]
"""Texts and their labels."""


class Task(ABC):
    """One task.

    Attributes:
        name: as users write it.
        headline: the metric that stands for the others.
        agreement: the metric that stands in for it where labels are missing.
        further_metrics: the metrics that a palette records next to the headline.
        headline_is_share: the headline is a share of rows, so its interval is Wilson's.
        figures_title: the title of the table of all metrics; None for no such table.

        max_texts: how many text columns a row may have.
        by_words: a row is words, and each has a label and an answer.
        has_classes: labels are names from a list.
        adds_rare_labels: labels that train does not have are natural in validation and test.
        stratified: splits that are cut from train keep the labels' shares.
        embeds: answers are vectors of single texts; a pair has a score, and is for evaluation.
        is_own_label: text is its own label, so that rows have no label column.
        generates: the model is a decoder.
        scales_labels: labels are numbers, which training standardises.
        learns_from_labels: there is a hard loss.
        watched_rows: of validation, for the scores after each epoch.
        recipe_changes: what differs from the recipe's defaults.

        head: how transformers' class with the head ends; None for no such head.
        problem_type: what a config calls the task; None where it does not.
        transformers_task: what transformers' models for the task are listed under.

        is_calibrated: a palette records what its members' scores mean.
        has_thresholds: it records the score from which a member gives each label.
        rejects: a palette can be matched to texts out of scope.
        answered_by: the class in `edgedistill.runtime` that answers texts, and its method.
        takes_false_accept_rate: that class has the option ``false_accept_rate``.
    """

    name: ClassVar[str]
    headline: ClassVar[str]
    agreement: ClassVar[str]
    further_metrics: ClassVar[tuple[str, ...]] = ()
    headline_is_share: ClassVar[bool] = False
    figures_title: ClassVar[str | None] = None

    max_texts: ClassVar[int] = 2
    by_words: ClassVar[bool] = False
    has_classes: ClassVar[bool] = False
    adds_rare_labels: ClassVar[bool] = False
    stratified: ClassVar[bool] = False
    embeds: ClassVar[bool] = False
    is_own_label: ClassVar[bool] = False
    generates: ClassVar[bool] = False
    scales_labels: ClassVar[bool] = False
    learns_from_labels: ClassVar[bool] = True
    watched_rows: ClassVar[int] = 1000
    recipe_changes: ClassVar[Mapping[str, Any]] = {}

    head: ClassVar[Literal["SequenceClassification", "TokenClassification"] | None] = None
    problem_type: ClassVar[str | None] = None
    transformers_task: ClassVar[str] = "text-classification"

    is_calibrated: ClassVar[bool] = False
    has_thresholds: ClassVar[bool] = False
    rejects: ClassVar[bool] = False
    answered_by: ClassVar[tuple[str, str]]
    takes_false_accept_rate: ClassVar[bool] = False

    def text(self, values: Sequence[Any], place: str) -> Text:
        """Return a row's text from the values of its text columns.

        Raises:
            DataError: a value is not a text; the message begins with ``place``.
        """
        texts = tuple(parse_text(value, place) for value in values)
        return texts[0] if len(texts) == 1 else texts

    @abstractmethod
    def label(self, value: Any, names: Sequence[str], text: Text, place: str) -> RawLabel:
        """Return a row's label from the value of its column.

        Args:
            value: a class, a number, a list: whatever the file has.
            names: of the classes, where the file numbers them.
            text: the row's.
            place: begins the message of an error.

        Raises:
            DataError: the value is not a label for the task.
        """

    def numbered(self, label: RawLabel, index: Mapping[str, int], _classes: int, /) -> Any:
        """Return a label with each class as its number in ``index``."""
        if isinstance(label, str):
            return index[label]
        return tuple(index[tag] for tag in label) if isinstance(label, tuple) else label

    @abstractmethod
    def outputs(self, labels: int, hidden: int, /) -> int:
        """Return how many outputs a unit has, for a number of label names and a hidden width."""

    def starting_bias(self, _labels: Sequence[Any], /) -> list[float] | None:
        """Return the bias [c] that a new head begins with, by the labels of train; None for zeros."""
        return None

    @abstractmethod
    def hard_loss(self, outputs: Tensor, labels: Tensor, /) -> Tensor:
        """Return the loss of outputs [u, c] against labels [u]: [u], not reduced."""

    @abstractmethod
    def soft_loss(self, outputs: Tensor, teacher: Tensor, temperature: float, /) -> Tensor:
        """Return the loss of outputs [u, c] against the teacher's [u, c]: [u], not reduced."""

    def hard_sum(self, outputs: Tensor, _teacher: Tensor | None, labels: Tensor | None, /) -> Tensor:
        """Return the sum of `hard_loss`: a scalar."""
        assert labels is not None
        return self.hard_loss(outputs, labels).sum()

    def mixed_sum(self, alpha: float, temperature: float) -> Callable[[Tensor, Tensor | None, Tensor | None], Tensor]:
        """Return the function for the sum over units of (1 − α)·`hard_loss` + α·`soft_loss`: a scalar."""

        def loss(outputs: Tensor, teacher: Tensor | None, labels: Tensor | None, /) -> Tensor:
            total = outputs.new_zeros(())
            if alpha < 1:
                total = total + (1 - alpha) * self.hard_sum(outputs, teacher, labels)
            if teacher is not None:
                total = total + alpha * self.soft_loss(outputs, teacher, temperature).sum()
            return total

        return loss

    @abstractmethod
    def metrics(self, outputs: Outputs, labels: Sequence[Any], names: Sequence[str], /) -> dict[str, float]:
        """Score outputs [units of all rows, c] against ``labels`` by row; the headline comes first."""

    @abstractmethod
    def agreements(self, outputs: Outputs, teacher: Outputs, /) -> dict[str, float]:
        """Score outputs [u, c] against the teacher's."""

    def resampled(
        self, outputs: Outputs, labels: Sequence[Any] | None, names: Sequence[str], teacher: Outputs | None, /
    ) -> Resampled:
        """Return the metrics that a palette records, for any choice of examples, and the number of examples.

        The headline comes first. Examples are rows, or units where labels are missing.
        """
        if labels is not None:
            return self.resampled_by_labels(outputs, labels, names)
        assert teacher is not None
        return (lambda rows: self.agreements(outputs[rows], teacher[rows])), len(outputs)

    def resampled_by_labels(self, outputs: Outputs, labels: Sequence[Any], names: Sequence[str], /) -> Resampled:
        """Return what `resampled` does, where there are labels."""
        import numpy as np

        by_row, recorded = np.asarray(labels), (self.headline, *self.further_metrics)

        def metrics_of(rows: Rows) -> dict[str, float]:
            metrics = self.metrics(outputs[rows], by_row[rows].tolist(), names)
            return {metric: metrics[metric] for metric in recorded}

        return metrics_of, len(by_row)

    def word_count_score(self, train: Labelled, test: Labelled, names: Sequence[str], /) -> float:
        """Return the headline on test of a linear model over word counts, learnt from train."""
        raise NotImplementedError(f"{self.name} has no baseline of word counts")

    def scores(self, logits: Outputs, /) -> Outputs:
        """Return the probabilities that logits [n, c] stand for."""
        raise NotImplementedError(f"{self.name} has no scores")

    def targets(self, labels: Sequence[Any], outputs: int, /) -> Outputs:
        """Return labels as probabilities [n, c]."""
        raise NotImplementedError(f"{self.name} has no scores")

    def surprise(self, logits: Outputs, targets: Outputs, /) -> float:
        """Return the mean cross-entropy of logits [n, c] against probabilities [n, c]."""
        raise NotImplementedError(f"{self.name} has no scores")

    def calibration_error(self, logits: Outputs, labels: Sequence[Any], /) -> float:
        """Return the expected calibration error of logits [n, c]."""
        raise NotImplementedError(f"{self.name} has no scores")

    def decisions(self, logits: Outputs, /) -> NDArray[Any]:
        """Return what is decided for each row [n], or [n, c] where each label is decided for itself."""
        raise NotImplementedError(f"{self.name} has no scores")

    def thresholds(self, _scores: Outputs, _targets: Outputs, /) -> list[float] | None:
        """Return the score from which each label is given, fitted to probabilities [n, c]; None where none is."""
        return None

    def at_thresholds(self, logits: Outputs, _temperature: float, _thresholds: Sequence[float] | None, /) -> Outputs:
        """Return logits that `decisions` and `metrics` take as decided at the thresholds."""
        return logits

    def record(self, answers: Any, /) -> Record:
        """Return the command line's record of the runtime's answers to one text."""
        raise NotImplementedError(f"{self.name} prints no records")

    def shown(self, record: Record, /) -> list[tuple[str, str]]:
        """Return the record's answer for people: lines, each with its style."""
        raise NotImplementedError(f"{self.name} prints no records")


def run_record(subnet: str, latency_ms: float, truncated: bool) -> Record:
    """Return what every record ends with."""
    return {"subnet": subnet, "latency_ms": round(latency_ms, 3)} | ({"truncated": True} if truncated else {})
