"""Text classification over an adaptive session: strings in, labels out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from edgedistill.errors import InputError, PaletteError
from edgedistill.manifest import Palette, TokenizerEntry
from edgedistill.runtime.adaptive import AdaptiveSession
from edgedistill.runtime.calibration import Scores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Encoding, Tokenizer

__all__ = ["Label", "TextClassifier"]

_BATCH = 32
_MOST_CHARACTERS = 64  # a token; what lies beyond is not read, so that a huge text costs no more than a long one
# Which property of an encoding a graph's input is.
_INPUTS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
_OUTPUT = "logits"


@dataclass(frozen=True, slots=True)
class Label:
    """The answer to one text.

    Attributes:
        label: the most probable label.
        score: its probability, 0 to 1, by the calibration of the subnet that answered.
        subnet: which subnet answered.
        latency_ms: how long the run took that this text was in.
        truncated: whether the text was longer than what is read: the model's tokens, of 64 characters at most.
        accepted: whether the score reaches the classifier's threshold; always, without one.
    """

    label: str
    score: float
    subnet: str
    latency_ms: float
    truncated: bool
    accepted: bool


class _Read(NamedTuple):
    """A text as token ids, and whether that is all of it."""

    encoding: Encoding
    truncated: bool


class TextClassifier:
    """Classifies texts with the palette behind ``session``: an open session, or a palette to open.

    A session that was given stays the caller's to close; one opened here closes with the classifier.
    ``options`` are those of `AdaptiveSession`. ``threshold``: the score, of the palette's largest subnet, below which
    an answer is not accepted; where another subnet answers, the score that is as hard to reach there.

    Raises:
        InputError: the threshold is no probability.
        PaletteError: the palette is for another task, or it or its tokenizer is damaged.
    """

    def __init__(
        self, session: AdaptiveSession | str | Path | Palette, *, threshold: float | None = None, **options: Any
    ) -> None:
        self._owned = not isinstance(session, AdaptiveSession)
        self._session = session if isinstance(session, AdaptiveSession) else AdaptiveSession(session, **options)
        manifest = self._session.palette.manifest
        if manifest.task != "text-classification" or manifest.texts != 1:
            self.close()
            kind = f"{manifest.task} of pairs" if manifest.texts == 2 else manifest.task
            raise PaletteError(
                f"the palette is for {kind}; a text classifier needs one for text-classification of single texts. "
                "AdaptiveSession.run answers token ids for every task"
            )
        self._labels = manifest.labels
        self._inputs = [spec.name for spec in manifest.inputs]
        self._pad_id = manifest.tokenizer.pad_token_id
        self._max_tokens = manifest.tokenizer.max_tokens
        try:
            self._scores = Scores(manifest, threshold)
            self._tokenizer = _load_tokenizer(self._session.palette.folder, manifest.tokenizer)
            _check_inputs(self._inputs)
        except (InputError, PaletteError):
            self.close()
            raise

    @property
    def session(self) -> AdaptiveSession:
        """The session behind it."""
        return self._session

    def classify(self, texts: Sequence[str]) -> list[Label]:
        """One label a text, in their order; runs take up to 32 texts at a time.

        Raises:
            InputError: a text is empty, blank or no valid Unicode; none is answered then.
            SessionClosed: after `close`.
        """
        read = [self._read(text, place) for place, text in enumerate(texts, start=1)]
        batches = (read[start : start + _BATCH] for start in range(0, len(read), _BATCH))
        return [label for batch in batches for label in self._answer(batch)]

    def _answer(self, batch: Sequence[_Read]) -> Iterator[Label]:
        answer = self._session.answer([_OUTPUT], self._feeds([one.encoding for one in batch]))
        least = self._scores.least(answer.subnet)
        for one, scores in zip(batch, self._scores.of(answer.subnet, answer.outputs[0]), strict=True):
            best = int(scores.argmax())
            score = float(scores[best])
            yield Label(
                self._labels[best], score, answer.subnet, answer.latency_ms, one.truncated, accepted=score >= least
            )

    def _feeds(self, encodings: Sequence[Encoding]) -> dict[str, NDArray[np.int64]]:
        """The graph's inputs, each [batch, tokens of the longest], padded at the end."""
        import numpy as np

        shape = len(encodings), max(len(encoding.ids) for encoding in encodings)
        feeds = {}
        for name in self._inputs:
            feed = np.full(shape, self._pad_id if name == "input_ids" else 0, dtype=np.int64)
            for row, encoding in zip(feed, encodings, strict=True):
                row[: len(encoding.ids)] = getattr(encoding, _INPUTS[name])
            feeds[name] = feed
        return feeds

    def _read(self, text: str, place: int) -> _Read:
        _check_text(text, place)
        most = self._max_tokens * _MOST_CHARACTERS
        text = text if len(text) <= most else text.strip()
        start = text[:most]
        encoding = self._tokenizer.encode(start)
        if not encoding.ids:
            raise InputError(f"text {place} has no tokens: only characters that the model does not know")
        return _Read(encoding, bool(encoding.overflowing) or len(start) < len(text))

    def close(self) -> None:
        """Close the session if it was opened here."""
        if self._owned:
            self._session.close()

    def __enter__(self) -> TextClassifier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_text(text: str, place: int) -> None:
    if not isinstance(text, str):
        raise InputError(f"text {place} is a {type(text).__name__}; expected a string")
    if not text.strip():
        raise InputError(f"text {place} is empty; expected at least one word")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"text {place} is no valid Unicode: half a surrogate pair at {error.start}") from error


def _check_inputs(names: Sequence[str]) -> None:
    for name in names:
        if name not in _INPUTS:
            raise PaletteError(f"the graphs want an input {name!r}; a text gives {', '.join(_INPUTS)}")


def _load_tokenizer(folder: Path, entry: TokenizerEntry) -> Tokenizer:
    from tokenizers import Tokenizer

    path = folder / entry.file
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise PaletteError(f"{path} is no tokenizer: {error}; export the palette again") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(entry.max_tokens)
    return tokenizer
