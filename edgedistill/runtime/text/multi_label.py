"""Multi-label classification: any number of labels a text, or a pair of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgedistill.palette import Palette
from edgedistill.runtime.adaptive import Answer
from edgedistill.runtime.text.pipeline import Pipeline, Source, countdown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LabelScore", "MultiLabelClassifier", "ScoredLabels"]

_EVEN = 0.5


@dataclass(frozen=True, slots=True)
class LabelScore:
    """A label and its probability, 0 to 1, by the calibration of the subnet that answered."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class ScoredLabels:
    """The answer to one text, or one pair.

    Attributes:
        labels: those whose score reaches the subnet's threshold, the highest score first; possibly none.
        scores: the score of every label, in the palette's order.
        subnet: which subnet answered.
        latency_ms: how long the run took that this text was in.
        truncated: whether the text was longer than what is read: the model's tokens, of 64 characters at most.
    """

    labels: tuple[LabelScore, ...]
    scores: tuple[float, ...]
    subnet: str
    latency_ms: float
    truncated: bool


class MultiLabelClassifier(Pipeline):
    """Gives texts their labels, with the palette behind ``session``: an open session, or a palette to open.

    A session that was given stays the caller's to close; one opened here closes with the classifier.
    ``options`` are those of `AdaptiveSession`.

    Raises:
        InputError: there are options for a session that is open already.
        PaletteError: the palette is for another task, or it or its tokenizer is damaged.
    """

    task = "multi-label-classification"

    def __init__(self, session: Source, **options: Any) -> None:
        super().__init__(session, **options)
        self._labels = self.session.palette.manifest.labels
        self._decisions = _Decisions(self.session.palette)

    def classify(
        self, texts: Sequence[str] | Sequence[tuple[str, str]], *, deadline_ms: float | None = None
    ) -> list[ScoredLabels]:
        """Return the labels of each text, in their order; runs take up to 32 texts at a time.

        Where the palette's task is about pairs, each text is two: ``classify([("a", "b")])``.

        With ``deadline_ms``, counted from the call, the smallest subnet answers what the active one is not expected to
        in time.

        Raises:
            InputError: a text is empty, blank, no valid Unicode or not of that kind; none is answered then.
            InputError: ``deadline_ms`` is not a number.
            RunError: no subnet gave a usable answer.
            SessionClosed: after `close`.
        """
        return [
            self._scored(logits, answer, read.truncated)
            for read, logits, answer in self._answered(countdown(deadline_ms), self._read(texts))
        ]

    def _scored(self, logits: NDArray[np.float32], answer: Answer, truncated: bool) -> ScoredLabels:
        decisions = self._decisions
        if answer.palette is not decisions.palette:  # replaced meanwhile: another one is calibrated by itself
            self._decisions = decisions = _Decisions(answer.palette)
        scores, thresholds = decisions.of(answer.subnet, logits)
        reached = [
            LabelScore(label, score)
            for label, score, threshold in zip(self._labels, scores, thresholds, strict=True)
            if score >= threshold
        ]
        reached.sort(key=lambda scored: -scored.score)
        return ScoredLabels(tuple(reached), tuple(scores), answer.subnet, answer.latency_ms, truncated)


class _Decisions:
    """The scores and thresholds of a palette's members."""

    def __init__(self, palette: Palette) -> None:
        self.palette = palette
        even = [_EVEN] * len(palette.manifest.labels)
        self._members = {
            entry.name: (1.0, even)
            if entry.calibration is None
            else (entry.calibration.temperature, entry.calibration.thresholds or even)
            for entry in palette.manifest.subnets
        }

    def of(self, subnet: str, logits: NDArray[np.float32]) -> tuple[list[float], list[float]]:
        """Return each label's score, and its threshold, by that member's logits [labels]."""
        import numpy as np

        temperature, thresholds = self._members[subnet]
        # The same as 1 / (1 + exp(−x)), of any size of x.
        scores = 0.5 * (1 + np.tanh(logits.astype(np.float64) / (2 * temperature)))
        return scores.tolist(), thresholds
