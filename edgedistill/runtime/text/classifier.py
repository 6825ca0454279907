"""Classify texts, or pairs of texts: one label each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any

from edgedistill.errors import InputError
from edgedistill.palette import Palette
from edgedistill.runtime.adaptive import Answer
from edgedistill.runtime.calibrated_scores import CalibratedScores
from edgedistill.runtime.text.pipeline import OUTPUT, Pipeline, Source, countdown
from edgedistill.runtime.text.tokenization import EncodedText

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Label", "TextClassifier"]


@dataclass(frozen=True, slots=True)
class Label:
    """Hold the label of one text or pair.

    Attributes:
        label: the most probable label.
        score: its probability, 0 to 1, calibrated for the subnet that answered.
        subnet: the subnet that answered.
        latency_ms: latency of the run that included this text.
        truncated: whether the text exceeded the model's tokens, at 64 characters each, and was cut.
        accepted: whether the text is likely in scope, by the classifier's ``false_accept_rate``; True without it.
    """

    label: str
    score: float
    subnet: str
    latency_ms: float
    truncated: bool
    accepted: bool


class TextClassifier(Pipeline):
    """Classify texts with the palette behind ``session``: an open session, or a palette to open.

    The caller closes a session of its own; one opened here closes with the classifier. ``options`` are those of
    `AdaptiveSession`. ``false_accept_rate``: the false-accept rate, the share of out-of-scope texts that may be
    accepted (0 to 1). The smallest subnet always decides which texts are in scope, so a swap never changes the
    decision. If it is not in memory, the subnet that answers decides, by a threshold for the same rate. The session's
    budgets are for one run, and do not include that second run.

    Raises:
        InputError: ``false_accept_rate`` is not a share, or the palette was exported without out-of-scope texts; or
            there are options for a session that is open already.
        PaletteError: the palette is for another task, or it or its tokenizer is damaged.
    """

    task = "text-classification"

    def __init__(self, session: Source, *, false_accept_rate: float | None = None, **options: Any) -> None:
        super().__init__(session, **options)
        palette = self.session.palette
        self._labels = palette.manifest.labels
        self._false_accepts = false_accept_rate
        self._second_ms = 0.0  # the smallest's last latency
        try:
            self._scores = palette, CalibratedScores(palette.manifest, false_accept_rate)
        except InputError:
            self.close()
            raise

    def classify(
        self, texts: Sequence[str] | Sequence[tuple[str, str]], *, deadline_ms: float | None = None
    ) -> list[Label]:
        """Return a label per text, in order; runs take up to 32 texts at a time.

        Where the palette's task is about pairs, each text is two: ``classify([("a", "b")])``.

        With ``deadline_ms``, counted from the call, the smallest subnet runs what the active one is not expected to
        finish in time.

        Raises:
            InputError: a text is empty, blank, not valid Unicode or not of that kind; then none is answered.
            InputError: ``deadline_ms`` is not a number.
            RunError: no subnet returned finite numbers.
            SessionClosed: after `close`.
        """
        left_ms, labels = countdown(deadline_ms), list[Label]()

        def first_ms() -> float | None:
            return None if (left := left_ms()) is None else left - self._second_ms

        for batch, feeds, answer in self._runs(first_ms, self._read(texts)):
            accepted = self._accepted(feeds, answer, len(batch))
            labels += map(self._label, batch, answer.outputs[0], accepted, repeat(answer))
        return labels

    def _accepted(self, feeds: Mapping[str, Any], answer: Answer, texts: int) -> Sequence[bool]:
        """Return whether each text of the run is in scope, by the smallest subnet."""
        if self._false_accepts is None:
            return [True] * texts
        second = self._run(self._session.second_answer, [OUTPUT], feeds, answer)
        self._second_ms = 0.0 if second is answer else second.latency_ms
        accepted: list[bool] = self._scores_by(second.palette).accepted(second.subnet, second.outputs[0]).tolist()
        return accepted

    def _label(self, read: EncodedText, logits: NDArray[np.float32], accepted: bool, answer: Answer) -> Label:
        probabilities = self._scores_by(answer.palette).probabilities(answer.subnet, logits)
        best = int(probabilities.argmax())
        score = float(probabilities[best])
        return Label(self._labels[best], score, answer.subnet, answer.latency_ms, read.truncated, accepted)

    def _scores_by(self, palette: Palette) -> CalibratedScores:
        """Return the scores of the palette that answered: a replacement has its own calibration."""
        calibrated, scores = self._scores
        if palette is not calibrated:
            scores = CalibratedScores(palette.manifest, self._false_accepts)
            self._scores = palette, scores
        return scores
