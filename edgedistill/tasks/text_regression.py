"""Text regression: a number for a text, or for a pair of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgedistill.tasks.fields import RawLabel, Text, parse_number
from edgedistill.tasks.kinds import NumberTask
from edgedistill.tasks.task import MEAN_ABSOLUTE_ERROR, Labelled, Record, run_record

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from torch import Tensor

    from edgedistill.tasks.task import Outputs

__all__ = ["TASK"]


class _TextRegression(NumberTask):
    name = "text-regression"
    headline = "spearman"
    agreement = "spearman_to_teacher"
    further_metrics = ("pearson", MEAN_ABSOLUTE_ERROR)
    figures_title = "regression"
    scales_labels = True
    head = "SequenceClassification"
    problem_type = "regression"
    answered_by = ("TextRegressor", "predict")

    def label(self, value: Any, _names: Sequence[str], _text: Text, place: str) -> RawLabel:
        return parse_number(value, place)

    def outputs(self, _labels: int, _hidden: int, /) -> int:
        return 1

    def hard_loss(self, outputs: Tensor, labels: Tensor, /) -> Tensor:
        """Return the squared error."""
        return (outputs[:, 0] - labels).square()

    def metrics(self, outputs: Outputs, labels: Sequence[Any], _names: Sequence[str], /) -> dict[str, float]:
        """Return correlations, which no affine change alters, and the mean absolute error, which sees it."""
        from edgedistill.tasks.metrics import correlations

        return {**correlations(outputs[:, 0], labels), MEAN_ABSOLUTE_ERROR: _mean_gap(outputs[:, 0], labels)}

    def agreements(self, outputs: Outputs, teacher: Outputs, /) -> dict[str, float]:
        """Return Spearman's correlation with the teacher, and the mean distance from it."""
        from edgedistill.tasks.metrics import correlations

        ours, theirs = outputs[:, 0], teacher[:, 0]
        return {
            self.agreement: correlations(ours, theirs)["spearman"],
            f"{MEAN_ABSOLUTE_ERROR}_to_teacher": _mean_gap(ours, theirs),
        }

    def word_count_score(self, train: Labelled, test: Labelled, _names: Sequence[str], /) -> float:
        """Return Spearman's correlation of a ridge regression; a pair's features are how alike its texts are."""
        from sklearn.linear_model import Ridge

        from edgedistill.tasks.metrics import correlations
        from edgedistill.tasks.word_counts import text_features

        inputs, held_out = text_features(train[0], test[0], alike_alone=True)
        return correlations(Ridge().fit(inputs, train[1]).predict(held_out), test[1])[self.headline]

    def record(self, answers: Any, /) -> Record:
        (answer,) = answers
        return {"value": round(answer.value, 6)} | run_record(answer.subnet, answer.latency_ms, answer.truncated)

    def shown(self, record: Record, /) -> list[tuple[str, str]]:
        return [(f"{record['value']:.4g}", "")]


def _mean_gap(ours: ArrayLike, theirs: ArrayLike) -> float:
    import numpy as np

    gaps = np.abs(np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64))
    return float(gaps.mean())


TASK = _TextRegression()
