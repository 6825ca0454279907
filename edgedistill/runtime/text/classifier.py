"""Classification: one label a text, or a pair of texts."""

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
    """The answer to one text, or one pair.

    Attributes:
        label: the most probable label.
        score: its probability, 0 to 1, by the calibration of the subnet that answered.
        subnet: which subnet answered.
        latency_ms: how long the run took that this text was in.
        truncated: whether the text was longer than what is read: the model's tokens, of 64 characters at most.
        accepted: whether the text is likely to be in scope, by the classifier's ``false_accepts``; always, without it.
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
    may be accepted (0 to 1). Whichever subnet answers, the smallest is asked as well then, and says which texts are in
    scope: so a swap never changes that. Where it is not in memory the subnet that answers says it, by a threshold that
    is matched to the same share. The session's budgets are of one run, and know nothing of the second.

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
        self._second_ms = 0.0  # how long the smallest took last time
        try:
            self._scores = palette, CalibratedScores(palette.manifest, false_accepts)
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
            InputError: ``deadline_ms`` is not a number.
            RunError: no subnet gave a usable answer.
            SessionClosed: after `close`.
        """
        left_ms, found = countdown(deadline_ms), list[Label]()

        def first_ms() -> float | None:
            return None if (left := left_ms()) is None else left - self._second_ms

        for batch, feeds, answer in self._runs(first_ms, self._read(texts)):
            accepted = self._accepted(feeds, answer, len(batch))
            found += map(self._label, batch, answer.outputs[0], accepted, repeat(answer))
        return found

    def _accepted(self, feeds: Mapping[str, Any], answer: Answer, texts: int) -> Sequence[bool]:
        """Whether each text that was fed is in scope, by the smallest subnet."""
        if self._false_accepts is None:
            return [True] * texts
        second = self._run(self._session.second_answer, [OUTPUT], feeds, answer)
        self._second_ms = 0.0 if second is answer else second.latency_ms
        found: list[bool] = self._scores_by(second.palette).accepted(second.subnet, second.outputs[0]).tolist()
        return found

    def _label(self, read: EncodedText, logits: NDArray[np.float32], accepted: bool, answer: Answer) -> Label:
        probabilities = self._scores_by(answer.palette).probabilities(answer.subnet, logits)
        best = int(probabilities.argmax())
        score = float(probabilities[best])
        return Label(self._labels[best], score, answer.subnet, answer.latency_ms, read.truncated, accepted)

    def _scores_by(self, palette: Palette) -> CalibratedScores:
        """By the palette that answered: one that was put in the first one's place is calibrated by itself."""
        known, scores = self._scores
        if palette is not known:
            scores = CalibratedScores(palette.manifest, self._false_accepts)
            self._scores = palette, scores
        return scores
