"""Multi-label classification: any number of labels for a text, or for a pair of texts.

Each label is a decision of its own: a sigmoid, a binary cross-entropy, and a threshold that is fitted on validation.
Shapes: n rows, c labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgedistill.errors import DataError
from edgedistill.tasks.fields import RawLabel, Text, parse_class, parse_list, shown_value
from edgedistill.tasks.task import Labelled, Record, Resampled, Task, run_record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

    from edgedistill.tasks.task import Outputs

__all__ = ["TASK", "label_counts", "label_f1", "parse_labels"]

_FEWEST_POSITIVES = 5  # on validation, to fit a threshold by: fewer say nothing reliable
_EVEN = 0.5


class _MultiLabelClassification(Task):
    name = "multi-label-classification"
    headline = "micro_f1"
    agreement = "micro_f1_to_teacher"
    further_metrics = ("macro_f1",)
    figures_title = "labels"
    has_classes = True
    adds_rare_labels = True
    head = "SequenceClassification"
    problem_type = "multi_label_classification"
    is_calibrated = True
    has_thresholds = True
    answered_by = ("MultiLabelClassifier", "classify")

    def label(self, value: Any, names: Sequence[str], _text: Text, place: str) -> RawLabel:
        return parse_labels(value, names, place)

    def numbered(self, label: RawLabel, index: Mapping[str, int], classes: int) -> tuple[int, ...]:
        """Return 1 for each label that the row has, and 0 for the others."""
        assert isinstance(label, tuple)
        places = {index[name] for name in label}
        return tuple(int(place in places) for place in range(classes))

    def outputs(self, labels: int, _hidden: int, /) -> int:
        return labels

    def starting_bias(self, labels: Sequence[Any], /) -> list[float]:
        """Return the log-odds of each label's share of rows.

        From zeros, the first steps would push all rare labels down at once, and what the layers know with them.
        """
        import numpy as np

        present = np.asarray(labels, dtype=np.float64)
        shares = (present.sum(0) + 0.5) / (len(present) + 1)
        odds: list[float] = np.log(shares / (1 - shares)).tolist()
        return odds

    def hard_loss(self, outputs: Tensor, labels: Tensor, /) -> Tensor:
        """Return the binary cross-entropy, summed over a row's labels."""
        from torch.nn import functional as F

        return F.binary_cross_entropy_with_logits(outputs, labels.to(outputs.dtype), reduction="none").sum(-1)

    def soft_loss(self, outputs: Tensor, teacher: Tensor, temperature: float, /) -> Tensor:
        """Return T²·KL(teacher‖outputs) of each label's decision, softened by T, summed over a row's labels."""
        from torch.nn import functional as F

        ours, theirs = outputs / temperature, teacher / temperature
        targets = theirs.sigmoid()
        entropy = F.binary_cross_entropy_with_logits(theirs, targets, reduction="none")
        gap = F.binary_cross_entropy_with_logits(ours, targets, reduction="none") - entropy
        return temperature**2 * gap.sum(-1)

    def metrics(self, outputs: Outputs, labels: Sequence[Any], _names: Sequence[str], /) -> dict[str, float]:
        """Return F1 over all decisions (micro), and its mean over labels (macro)."""
        return label_f1(label_counts(outputs > 0, labels).sum(0))

    def agreements(self, outputs: Outputs, teacher: Outputs, /) -> dict[str, float]:
        """Return the F1 of the decisions, where the teacher's are right."""
        return {self.agreement: label_f1(label_counts(outputs > 0, teacher > 0).sum(0))["micro_f1"]}

    def resampled_by_labels(self, outputs: Outputs, labels: Sequence[Any], _names: Sequence[str], /) -> Resampled:
        counts = label_counts(outputs > 0, labels)
        return (lambda rows: label_f1(counts[rows].sum(0))), len(counts)

    def word_count_score(self, train: Labelled, test: Labelled, _names: Sequence[str], /) -> float:
        """Return the micro F1 of a logistic regression for each label."""
        import numpy as np
        from sklearn.linear_model import LogisticRegression
        from sklearn.multiclass import OneVsRestClassifier

        from edgedistill.tasks.word_counts import text_features

        inputs, held_out = text_features(train[0], test[0])
        model = OneVsRestClassifier(LogisticRegression(C=30, solver="liblinear"))
        predicted = model.fit(inputs, np.asarray(train[1])).predict(held_out)
        return label_f1(label_counts(predicted, test[1]).sum(0))[self.headline]

    def scores(self, logits: Outputs, /) -> Outputs:
        """Return each label's probability."""
        from scipy.special import expit

        probabilities: Outputs = expit(logits)
        return probabilities

    def targets(self, labels: Sequence[Any], _outputs: int, /) -> Outputs:
        import numpy as np

        return np.asarray(labels, dtype=np.float64)

    def surprise(self, logits: Outputs, targets: Outputs, /) -> float:
        """Return the mean binary cross-entropy of a row."""
        import numpy as np

        return float((np.logaddexp(0, logits) - targets * logits).sum(-1).mean())

    def calibration_error(self, logits: Outputs, labels: Sequence[Any], /) -> float:
        """Return how far scores are from the share of labels that rows have, over all decisions."""
        from edgedistill.tasks.metrics import binned_error

        return binned_error(self.scores(logits).ravel(), self.targets(labels, 0).ravel())

    def decisions(self, logits: Outputs, /) -> NDArray[np.bool_]:
        return logits > 0

    def thresholds(self, scores: Outputs, targets: Outputs, /) -> list[float]:
        """Return for each label the threshold with the highest F1; 0.5 where no other has a higher one."""
        return [_best_threshold(scores[:, label], targets[:, label] > _EVEN) for label in range(scores.shape[1])]

    def at_thresholds(self, logits: Outputs, temperature: float, thresholds: Sequence[float] | None, /) -> Outputs:
        """Return logits that are above 0 where a score is above its threshold."""
        from scipy.special import logit

        return logits if thresholds is None else logits - temperature * logit(thresholds)

    def record(self, answers: Any, /) -> Record:
        (answer,) = answers
        labels = [{"label": scored.label, "score": round(scored.score, 6)} for scored in answer.labels]
        return {"labels": labels} | run_record(answer.subnet, answer.latency_ms, answer.truncated)

    def shown(self, record: Record, /) -> list[tuple[str, str]]:
        labels = [(f"{scored['label']} {scored['score']:.1%}", "") for scored in record["labels"]]
        return labels or [("no labels", "dim")]


def _best_threshold(scores: NDArray[np.floating[Any]], has_label: NDArray[np.bool_]) -> float:
    """Return the threshold on scores [n] whose F1 is highest; of equal ones the nearest to 0.5."""
    import numpy as np

    positives = int(has_label.sum())
    if positives < _FEWEST_POSITIVES:
        return _EVEN
    order = np.argsort(-scores, kind="stable")
    sorted_scores = scores[order]
    f1 = 2 * np.cumsum(has_label[order]) / (np.arange(1, len(scores) + 1) + positives)
    cuts = (sorted_scores + np.append(sorted_scores[1:], 0.0)) / 2
    separates = sorted_scores > np.append(sorted_scores[1:], -1.0)  # the scores on either side of a cut differ
    even = scores >= _EVEN
    best, threshold = 2 * int((even & has_label).sum()) / max(1, int(even.sum()) + positives), _EVEN
    for value, cut in sorted(zip(f1[separates], cuts[separates], strict=True), key=lambda pair: abs(pair[1] - _EVEN)):
        if value > best + 1e-12:
            best, threshold = float(value), float(cut)
    return round(min(max(threshold, 1e-4), 1 - 1e-4), 6)


def parse_labels(value: Any, names: Sequence[str], place: str) -> tuple[str, ...]:
    """Return the names of all classes that a row has: a list, or a string with a list or with commas in between.

    An empty list or string is a row without any.

    Raises:
        DataError: it is not a list of classes, or names one twice.
    """
    if isinstance(value, str):
        listed = value.strip().startswith("[")
        value = parse_list(value, "label", place) if listed else [part for part in value.split(",") if part.strip()]
    if not isinstance(value, list):
        raise DataError(
            f"{place} has the labels {shown_value(value)}; expected a list of names, [] where there are none"
        )
    labels = tuple(parse_class(label, names, place) for label in value)
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise DataError(f"{place} has the label {twice!r} twice; expected the name of each label that it has, once")
    return labels


def label_counts(predicted: ArrayLike, labels: ArrayLike) -> NDArray[np.integer[Any]]:
    """Return by row and label [N, 3, c] which labels are right, which are predicted, and which the row has."""
    import numpy as np

    ours, theirs = np.asarray(predicted, dtype=bool), np.asarray(labels, dtype=bool)
    return np.stack([ours & theirs, ours, theirs], axis=1).astype(np.int64)


def label_f1(counts: NDArray[np.integer[Any]]) -> dict[str, float]:
    """Return F1 over all decisions, and its mean over labels, from sums [3, c] of `label_counts`.

    A label that no row has, and that is predicted for none, has no F1 and is left out of the mean.
    """
    right, predicted, present = counts
    total = int(predicted.sum() + present.sum())
    seen = predicted + present > 0
    by_label = 2 * right[seen] / (predicted + present)[seen]
    return {
        "micro_f1": 2 * float(right.sum()) / total if total else 0.0,
        "macro_f1": float(by_label.mean()) if len(by_label) else 0.0,
    }


TASK = _MultiLabelClassification()
