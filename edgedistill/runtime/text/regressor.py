"""Predict one number per text, or per pair of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgedistill.runtime.text.pipeline import Pipeline, countdown

__all__ = ["Prediction", "TextRegressor"]


@dataclass(frozen=True, slots=True)
class Prediction:
    """Hold the number of one text or pair.

    Attributes:
        value: the number, on the scale of the labels that the palette was trained with.
        subnet: the subnet that answered.
        latency_ms: latency of the run that included this text.
        truncated: whether the text exceeded the model's tokens, at 64 characters each, and was cut.
    """

    value: float
    subnet: str
    latency_ms: float
    truncated: bool


class TextRegressor(Pipeline):
    """Predict numbers for texts with the palette behind ``session``: an open session, or a palette to open.

    The caller closes a session of its own; one opened here closes with the regressor.
    ``options`` are those of `AdaptiveSession`.

    Raises:
        InputError: there are options for a session that is open already.
        PaletteError: the palette is for another task, or it or its tokenizer is damaged.
    """

    task = "text-regression"

    def predict(
        self, texts: Sequence[str] | Sequence[tuple[str, str]], *, deadline_ms: float | None = None
    ) -> list[Prediction]:
        """Return a number per text, in order; runs take up to 32 texts at a time.

        Where the palette's task is about pairs, each text is two: ``predict([("a", "b")])``.

        With ``deadline_ms``, counted from the call, the smallest subnet runs what the active one is not expected to
        finish in time.

        Raises:
            InputError: a text is empty, blank, not valid Unicode or not of that kind; then none is answered.
            InputError: ``deadline_ms`` is not a number.
            RunError: no subnet returned finite numbers.
            SessionClosed: after `close`.
        """
        return [
            Prediction(float(outputs[0]), answer.subnet, answer.latency_ms, read.truncated)
            for read, outputs, answer in self._answered(countdown(deadline_ms), self._read(texts))
        ]
