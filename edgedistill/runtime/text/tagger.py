"""Classify tokens: the entities of texts, with their positions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgedistill.errors import InputError, RunError
from edgedistill.runtime.adaptive import Answer
from edgedistill.runtime.calibrated_scores import CalibratedScores
from edgedistill.runtime.text.entities import Entity, Word, entities_of
from edgedistill.runtime.text.graphemes import Span
from edgedistill.runtime.text.pipeline import Pipeline, Source, countdown, numbered
from edgedistill.runtime.text.tokenization import EncodedWords

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["UNREAD", "Tagged", "TokenClassifier"]

UNREAD = "unread"
"""The label of what was not read, in a redacted text."""


@dataclass(frozen=True, slots=True)
class Tagged:
    """Hold the tags and entities of one text.

    Attributes:
        text: the text; a list of words is joined by blanks. Positions are characters of it.
        entities: the entities, in the text's order.
        words: every encoded word, with its tag.
        subnet: the subnet that answered.
        latency_ms: latency of the run that included this text.
        truncated: whether the text exceeded the model's tokens, at 64 characters each, and was cut.
        unread: start and end of each part that no token stands for, such as invisible characters and letters that the
            tokenizer does not know. The model says nothing of them.
    """

    text: str
    entities: tuple[Entity, ...]
    words: tuple[Word, ...]
    subnet: str
    latency_ms: float
    truncated: bool
    unread: tuple[Span, ...] = ()

    def redacted(self, mask: str = "[{label}]") -> str:
        """Return the text with ``mask`` in the place of each entity and of each unread part.

        ``{label}`` in the mask becomes the entity's label, or ``unread``.

        Raises:
            InputError: the text was truncated, so the rest of it would stay as it is; or the mask is not a string.
            RunError: a word's score is not finite.
        """
        if not isinstance(mask, str):
            raise InputError(f"mask is a {type(mask).__name__}; expected a string")
        if not all(math.isfinite(word.score) for word in self.words):
            raise RunError("a word has a score that is not finite, so its tag says nothing; run 'edgedistill verify'")
        if self.truncated:
            raise InputError("the text is longer than what was read, so its rest would stay as it is; tag it in parts")
        masked = [(entity.start, entity.end, entity.label) for entity in self.entities]
        masked += [(start, end, UNREAD) for start, end in self.unread]
        parts, last = [], 0
        for start, end, label in sorted(masked):
            if end > last:
                parts += [self.text[last:start], mask.replace("{label}", label)]
                last = end
        return "".join([*parts, self.text[last:]])


class TokenClassifier(Pipeline):
    """Find entities in texts with the palette behind ``session``: an open session, or a palette to open.

    The caller closes a session of its own; one opened here closes with the classifier.
    ``options`` are those of `AdaptiveSession`.

    Raises:
        InputError: there are options for a session that is open already.
        PaletteError: the palette is for another task, or it or its tokenizer is damaged.
    """

    task = "token-classification"

    def __init__(self, session: Source, **options: Any) -> None:
        super().__init__(session, **options)
        manifest = self.session.palette.manifest
        self._labels = manifest.labels
        self._scores = CalibratedScores(manifest, None)

    def tag(self, texts: Sequence[str | Sequence[str]], *, deadline_ms: float | None = None) -> list[Tagged]:
        """Return the entities of each text, in order; runs take up to 32 texts at a time.

        A text is a string, which is split into words as the tokenizer splits it, or a list of words. As in training,
        a word's tag is that of its first token. Tags that are not in BIO make an entity of each word.

        With ``deadline_ms``, counted from the call, the smallest subnet runs what the active one is not expected to
        finish in time.

        Raises:
            InputError: a text or word is empty, blank, not valid Unicode or not a string; then none is answered.
            InputError: ``deadline_ms`` is not a number.
            RunError: no subnet returned finite numbers.
            SessionClosed: after `close`.
        """
        left_ms = countdown(deadline_ms)
        read = [self._reader.read_words(text, place) for place, text in numbered(texts)]
        return [self._tagged(*answered) for answered in self._answered(left_ms, read)]

    def _tagged(self, read: EncodedWords, logits: NDArray[np.float32], answer: Answer) -> Tagged:
        """Return the tags of a text from its logits [tokens, labels]."""
        text = read.words.text
        words = self._words(read, self._scores.probabilities(answer.subnet, logits))
        entities = entities_of(text, words, read.words.clusters)
        return Tagged(
            text, tuple(entities), tuple(words), answer.subnet, answer.latency_ms, read.truncated, read.unread
        )

    def _words(self, read: EncodedWords, scores: NDArray[np.float64]) -> list[Word]:
        words = []
        for index, token in read.first_tokens().items():
            start, end = read.words.spans[index]
            best = int(scores[token].argmax())
            word = read.words.text[start:end]
            words.append(Word(index, word, start, end, self._labels[best], float(scores[token, best])))
        return words
