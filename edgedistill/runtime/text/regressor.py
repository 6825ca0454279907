"""Regression: one number a text, or a pair of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgedistill.runtime.text.pipeline import Pipeline, countdown

__all__ = ["Prediction", "TextRegressor"]


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to one text, or one pair.

    Attributes:
        value: the number, on the scale of the labels that the palette was trained with.
        subnet: which subnet answered.
        latency_ms: how long the run took that this text was in.
        truncated: whether the text was longer than what is read: the model's tokens, of 64 characters at most.
    """

    value: float
    subnet: str
    latency_ms: float
    truncated: bool


class TextRegressor(Pipeline):
    """Gives texts numbers, with the palette behind ``session``: an open session, or a palette to open.

    A session that was given stays the caller's to close; one opened here closes with the regressor.
    ``options`` are those of `AdaptiveSession`.

    Raises:
        InputError: there are options for a session that is open already.
        PaletteError: the palette is for another task, or it or its tokenizer is damaged.
    """

    task = "text-regression"

    def predict(
        self, texts: Sequence[str] | Sequence[tuple[str, str]], *, deadline_ms: float | None = None
    ) -> list[Prediction]:
        """One number a text, in their order; runs take up to 32 texts at a time.

        Where the palette's task is about pairs, each text is two: ``predict([("a", "b")])``.

        With ``deadline_ms``, counted from the call, the smallest subnet answers what the live one is not expected to in
        time.

        Raises:
            InputError: a text is empty, blank, no valid Unicode or not of that kind; none is answered then.
            InputError: ``deadline_ms`` is not a number.
            RunError: no subnet gave a usable answer.
            SessionClosed: after `close`.
        """
        return [
            Prediction(float(outputs[0]), answer.subnet, answer.latency_ms, read.truncated)
            for read, outputs, answer in self._answered(countdown(deadline_ms), self._read(texts))
        ]
