"""Text classification: one of some labels for a text, or for a pair of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgedistill.tasks.fields import RawLabel, Text, parse_class
from edgedistill.tasks.kinds import ClassTask
from edgedistill.tasks.task import Labelled, Record, run_record

if TYPE_CHECKING:
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
    takes_false_accepts = True

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

        inputs, asked = text_features(train[0], test[0])
        predicted = LinearSVC().fit(inputs, train[1]).predict(asked)
        return class_metrics(predicted, test[1], len(names))[self.headline]

    def record(self, answers: Any, /) -> Record:
        (answer,) = answers
        record = {"label": answer.label, "score": round(answer.score, 6)}
        record |= run_record(answer.subnet, answer.latency_ms, answer.truncated)
        return record | ({} if answer.accepted else {"accepted": False})

    def shown(self, record: Record, /) -> list[tuple[str, str]]:
        label = f"{record['label']} {record['score']:.1%}"
        return [(label, "") if record.get("accepted", True) else (f"{label}, not accepted", "dim")]


TASK = _TextClassification()
