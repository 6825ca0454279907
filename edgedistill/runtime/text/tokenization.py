"""Encode texts for a palette's graphs: checked, as token ids, cut as in training.

Shapes: b texts, n tokens of the longest of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgedistill.errors import InputError, PaletteError
from edgedistill.library_errors import is_library_error, library_errors
from edgedistill.palette import Palette
from edgedistill.runtime.text.graphemes import Span
from edgedistill.runtime.text.unread import unread_spans
from edgedistill.runtime.text.words import Words, joined, split

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Encoding, Tokenizer

__all__ = ["EncodedText", "EncodedWords", "TextTokenizer", "checked", "encoded", "load_tokenizer"]

_MAX_CHARACTERS_A_TOKEN = 64  # the rest is cut, so that a huge text costs no more than a long one
# Which property of an encoding a graph's input is.
_INPUTS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


@dataclass(frozen=True, slots=True)
class EncodedText:
    """Hold a text as token ids, and whether it was cut."""

    encoding: Encoding
    truncated: bool


@dataclass(frozen=True, slots=True)
class EncodedWords(EncodedText):
    """Hold a text encoded word by word, and the parts of it that no token stands for."""

    words: Words
    unread: tuple[Span, ...]

    def first_tokens(self) -> dict[int, int]:
        """Return the index of each word's first token, for words that have one and were not cut."""
        first: dict[int, int] = {}
        for place, word in enumerate(self.encoding.word_ids):
            if word is not None:
                first.setdefault(word, place)
        return first


class TextTokenizer:
    """Encode texts with a palette's tokenizer.

    Raises:
        PaletteError: the tokenizer is damaged, or the graphs need an input that a text does not have.
    """

    def __init__(self, palette: Palette) -> None:
        manifest = palette.manifest
        self._inputs = [spec.name for spec in manifest.graph_inputs]
        for name in self._inputs:
            if name not in _INPUTS:
                raise PaletteError(f"the graphs want an input {name!r}; a text gives {', '.join(_INPUTS)}")
        if "input_ids" not in self._inputs:
            raise PaletteError("the graphs want no 'input_ids', which is what a text is to a model; export them again")
        self._pairs = manifest.text_input.texts == 2
        self._pad_id = manifest.text_input.tokenizer.pad_token_id
        self._most = manifest.text_input.tokenizer.max_tokens * _MAX_CHARACTERS_A_TOKEN
        self._tokenizer = load_tokenizer(palette)
        self._tokenizer.enable_truncation(manifest.text_input.tokenizer.max_tokens)

    def read(self, text: object, place: int) -> EncodedText:
        """Encode the caller's ``place``-th text, from 1, or a pair of texts for a task about pairs.

        Raises:
            InputError: it is not a text or a pair, is empty, or is not valid Unicode.
        """
        if not self._pairs:
            start, cut = self._start(text, f"text {place}")
            return self._encoded(place, start, None, cut)
        if not isinstance(text, tuple | list) or len(text) != 2:
            raise InputError(f"text {place} is not a pair, which the palette's task is about; expected two strings")
        start, cut = self._start(text[0], f"the first text of pair {place}")
        second, second_cut = self._start(text[1], f"the second text of pair {place}")
        return self._encoded(place, start, second, cut or second_cut)

    def read_words(self, text: object, place: int) -> EncodedWords:
        """Encode a text as words: a string, which the tokenizer splits, or a list of words.

        Raises:
            InputError: it is neither, or empty, not valid Unicode, or without any token.
        """
        with library_errors(InputError, f"text {place} cannot be split into words"):
            words = self._words(text, place)
            encoding = self._encoding(place, words.strings())
            unread = unread_spans(words, encoding, self._tokenizer.normalizer)
        return EncodedWords(encoding, bool(encoding.overflowing) or words.cut, words, unread)

    def _words(self, text: object, place: int) -> Words:
        if not isinstance(text, tuple | list):
            return split(self._tokenizer, checked(text, f"text {place}"), self._most)
        if not text:
            raise InputError(f"text {place} is empty; expected at least one word")
        words = [checked(word, f"word {number} of text {place}") for number, word in enumerate(text, start=1)]
        return joined(self._tokenizer, words, self._most)

    def _start(self, text: object, what: str) -> tuple[str, bool]:
        """Return the start of a text that is encoded, and whether there is more."""
        whole = checked(text, what)
        whole = whole if len(whole) <= self._most else whole.strip()
        return whole[: self._most], len(whole) > self._most

    def _encoded(self, place: int, start: str, second: str | None, cut: bool) -> EncodedText:
        encoding = self._encoding(place, start, second)
        return EncodedText(encoding, cut or bool(encoding.overflowing))

    def _encoding(self, place: int, text: str | list[str], second: str | None = None) -> Encoding:
        """Encode a text, a pair, or a list of words.

        Raises:
            InputError: the tokenizer cannot, or gives no token.
        """
        encoding = encoded(self._tokenizer, text, second, f"text {place}", is_pretokenized=isinstance(text, list))
        if not encoding.ids:
            raise InputError(f"text {place} has no tokens: only characters that the model does not know")
        return encoding

    def trial_feeds(self) -> dict[str, NDArray[np.int64]]:
        """Return inputs of two tokens that every model has: its first."""
        import numpy as np

        return {name: np.full((1, 2), int(name == "attention_mask"), dtype=np.int64) for name in self._inputs}

    def feeds(self, read: Sequence[EncodedText]) -> dict[str, NDArray[np.int64]]:
        """Return the graphs' inputs, each [b, n], padded at the end."""
        import numpy as np

        encodings = [text.encoding for text in read]
        shape = len(encodings), max(len(encoding.ids) for encoding in encodings)
        feeds = {}
        for name in self._inputs:
            feed = np.full(shape, self._pad_id if name == "input_ids" else 0, dtype=np.int64)
            for row, encoding in zip(feed, encodings, strict=True):
                row[: len(encoding.ids)] = getattr(encoding, _INPUTS[name])
            feeds[name] = feed
        return feeds


def encoded(
    tokenizer: Tokenizer, text: str | list[str], second: str | None = None, what: str = "the text", **options: bool
) -> Encoding:
    """Encode a text, a pair, or a list of words; ``what`` names it in a message.

    Raises:
        InputError: the tokenizer fails, for example because its model has no unknown token.
    """
    try:
        return tokenizer.encode(text, second, **options)
    except BaseException as error:  # tokenizers raises bare exceptions, and panics
        if not is_library_error(error):
            raise
        raise InputError(f"{what} cannot be split into the model's tokens: {error}") from error


def checked(text: object, what: str) -> str:
    """Return the text, after checking it; ``what`` names it in a message.

    Raises:
        InputError: it is not a string, is blank, or is not valid Unicode.
    """
    if not isinstance(text, str):
        raise InputError(f"{what} is a {type(text).__name__}; expected a string")
    if not text.strip():
        raise InputError(f"{what} is empty; expected more than blanks")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{what} is not valid Unicode: half a surrogate pair at {error.start}") from error
    return text


def load_tokenizer(palette: Palette) -> Tokenizer:
    """Load a palette's tokenizer, without padding and truncation.

    Raises:
        PaletteError: it is damaged.
    """
    from tokenizers import Tokenizer

    name = palette.manifest.text_input.tokenizer.file
    content = palette.read(name)
    with library_errors(PaletteError, f"{palette.files / name} is not a tokenizer", "export the palette again"):
        tokenizer = Tokenizer.from_buffer(content)
        tokenizer.no_padding()
        tokenizer.no_truncation()
    return tokenizer
