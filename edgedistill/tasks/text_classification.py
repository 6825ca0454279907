"""Text classification: one of some labels for a text, or for a pair of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgedistill.tasks.fields import RawLabel, Text, parse_class
from edgedistill.tasks.kinds import ClassTask
from edgedistill.tasks.task import Labelled, Record, run_record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgedistill.tasks.task import Outputs

__all__ = ["TASK"]


class _TextClassification(ClassTask):
    name = "text-classification"
    headline = "accuracy"
    headline_is_share = True
    stratified = True
    head = "SequenceClassification"
    problem_type = "single_label_classification"
    is_calibrated = True
    rejects = True
    answered_by = ("TextClassifier", "classify")
    takes_false_accept_rate = True

    def label(self, value: Any, names: Sequence[str], _text: Text, place: str) -> RawLabel:
        return parse_class(value, names, place)

    def metrics(self, outputs: Outputs, labels: Sequence[Any], _names: Sequence[str], /) -> dict[str, float]:
        from edgedistill.tasks.metrics import class_metrics

        return class_metrics(outputs.argmax(-1), labels, outputs.shape[-1])

    def word_count_score(self, train: Labelled, test: Labelled, names: Sequence[str], /) -> float:
        """Return the accuracy of a linear support vector machine."""
        from sklearn.svm import LinearSVC

        from edgedistill.tasks.metrics import class_metrics
        from edgedistill.tasks.word_counts import text_features

        inputs, held_out = text_features(train[0], test[0])
        predicted = LinearSVC().fit(inputs, train[1]).predict(held_out)
        return class_metrics(predicted, test[1], len(names))[self.headline]

    def scores(self, logits: Outputs, /) -> Outputs:
        from scipy.special import softmax

        probabilities: Outputs = softmax(logits, axis=-1)
        return probabilities

    def targets(self, labels: Sequence[Any], outputs: int, /) -> Outputs:
        import numpy as np

        right: Outputs = np.eye(outputs)[np.asarray(labels)]
        return right

    def surprise(self, logits: Outputs, targets: Outputs, /) -> float:
        from scipy.special import log_softmax

        return -float((targets * log_softmax(logits, axis=-1)).sum(-1).mean())

    def calibration_error(self, logits: Outputs, labels: Sequence[Any], /) -> float:
        """Return how far the scores of the labels on top are from the share of them that is right."""
        from edgedistill.tasks.metrics import binned_error

        return binned_error(self.scores(logits).max(-1), logits.argmax(-1) == labels)

    def decisions(self, logits: Outputs, /) -> NDArray[Any]:
        top: NDArray[Any] = logits.argmax(-1)
        return top

    def record(self, answers: Any, /) -> Record:
        (answer,) = answers
        record = {"label": answer.label, "score": round(answer.score, 6)}
        record |= run_record(answer.subnet, answer.latency_ms, answer.truncated)
        return record | ({} if answer.accepted else {"accepted": False})

    def shown(self, record: Record, /) -> list[tuple[str, str]]:
        label = f"{record['label']} {record['score']:.1%}"
        return [(label, "") if record.get("accepted", True) else (f"{label}, not accepted", "dim")]


TASK = _TextClassification()
