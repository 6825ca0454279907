"""Classification: one label a text, or a pair of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgedistill.errors import InputError
from edgedistill.manifest import Palette
from edgedistill.runtime.adaptive import Answer
from edgedistill.runtime.calibration import Scores
from edgedistill.runtime.text.pipeline import Pipeline, Source, countdown
from edgedistill.runtime.text.reading import Read

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Label", "TextClassifier"]


@dataclass(frozen=True, slots=True)
class Label:
    """The answer to one text, or one pair.

    Attributes:
        label: the most probable label.
        score: its probability, 0 to 1, by the calibration of the subnet that answered.
        subnet: which subnet answered.
        latency_ms: how long the run took that this text was in.
        truncated: whether the text was longer than what is read: the model's tokens, of 64 characters at most.
        accepted: whether the text is likely to be in scope, by the classifier's ``false_accepts``; always, without.
    """

    label: str
    score: float
    subnet: str
    latency_ms: float
    truncated: bool
    accepted: bool


class TextClassifier(Pipeline):
    """Classifies texts with the palette behind ``session``: an open session, or a palette to open.

    A session that was given stays the caller's to close; one opened here closes with the classifier.
    ``options`` are those of `AdaptiveSession`. ``false_accepts``: the share of the palette's out-of-scope texts that
    may be accepted (0 to 1), whichever subnet answers.

    Raises:
        InputError: ``false_accepts`` is no share, or the palette knows no texts out of scope; or there are options for
            a session that is open already.
        PaletteError: the palette is for another task, or it or its tokenizer is damaged.
    """

    task = "text-classification"

    def __init__(self, session: Source, *, false_accepts: float | None = None, **options: Any) -> None:
        super().__init__(session, **options)
        palette = self.session.palette
        self._labels = palette.manifest.labels
        self._false_accepts = false_accepts
        try:
            self._scores = palette, Scores(palette.manifest, false_accepts)
        except InputError:
            self.close()
            raise

    def classify(
        self, texts: Sequence[str] | Sequence[tuple[str, str]], *, deadline_ms: float | None = None
    ) -> list[Label]:
        """One label a text, in their order; runs take up to 32 texts at a time.

        Where the palette's task is about pairs, each text is two: ``classify([("a", "b")])``.

        With ``deadline_ms``, counted from the call, the smallest subnet answers what the live one is not expected to in
        time.

        Raises:
            InputError: a text is empty, blank, no valid Unicode or not of that kind; none is answered then.
            SessionClosed: after `close`.
        """
        return [self._label(*found) for found in self._answered(countdown(deadline_ms), self._read(texts))]

    def _label(self, read: Read, logits: NDArray[np.float32], answer: Answer) -> Label:
        scores = self._scores_by(answer.palette)
        found = scores.of(answer.subnet, logits)
        best = int(found.argmax())
        score = float(found[best])
        accepted = bool(scores.accepted(answer.subnet, logits))
        return Label(self._labels[best], score, answer.subnet, answer.latency_ms, read.truncated, accepted)

    def _scores_by(self, palette: Palette) -> Scores:
        """By the palette that answered: one that was put in the first one's place is calibrated by itself."""
        known, scores = self._scores
        if palette is not known:
            scores = Scores(palette.manifest, self._false_accepts)
            self._scores = palette, scores
        return scores
