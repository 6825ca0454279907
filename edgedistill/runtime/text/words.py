"""A text in words, each with its place in the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["Words", "joined", "split"]

Span = tuple[int, int]
"""Start and end, in characters."""


@dataclass(frozen=True, slots=True)
class Words:
    """The words of ``text``: where each lies in it, and whether there is more of it than them."""

    text: str
    spans: list[Span]
    cut: bool

    def strings(self) -> list[str]:
        """The words themselves."""
        return [self.text[start:end] for start, end in self.spans]


def split(tokenizer: Tokenizer, text: str, most: int) -> Words:
    """The words that the tokenizer's own normalizer and pre-tokenizer make of a text, of its first ``most`` characters.

    Tokenizers of SentencePiece's kind split at blanks alone: there a comma belongs to the word before it.
    """
    from tokenizers import PreTokenizedString

    skipped = len(text) - len(text.lstrip())
    start = text[skipped : skipped + most]
    parts = PreTokenizedString(start)
    if tokenizer.normalizer is not None:
        parts.normalize(tokenizer.normalizer.normalize)
    if tokenizer.pre_tokenizer is not None:
        tokenizer.pre_tokenizer.pre_tokenize(parts)
    found = parts.get_splits(offset_referential="original", offset_type="char")
    spans = [_without_blanks(text, skipped + begin, skipped + end) for _, (begin, end), _ in found]
    return Words(text, [span for span in spans if span[0] < span[1]], cut=len(text.rstrip()) > skipped + most)


def _without_blanks(text: str, start: int, end: int) -> Span:
    """Byte-level tokenizers count the blank before a word as its own."""
    word = text[start:end]
    start += len(word) - len(word.lstrip())
    return start, start + len(word.strip())


def joined(words: Sequence[str], most: int) -> Words:
    """Words that the caller has split, as a text with one blank between them, of its first ``most`` characters."""
    spans, start = [], 0
    for word in words:
        spans.append((start, start + len(word)))
        start += len(word) + 1
    kept = [(start, min(end, most)) for start, end in spans if start < most]
    return Words(" ".join(words), kept, cut=kept != spans)
