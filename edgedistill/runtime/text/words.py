"""Split a text into words with their positions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgedistill.runtime.text.graphemes import Clusters, Span

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from tokenizers.normalizers import Normalizer

__all__ = ["Words", "joined", "split"]


@dataclass(frozen=True, slots=True)
class Words:
    """Hold the words of ``text``: the span of each, and whether the text was cut.

    ``length``: number of characters of the text that were split into words. ``clusters`` are the clusters of those.
    """

    text: str
    spans: list[Span]
    cut: bool
    length: int
    clusters: Clusters

    def strings(self) -> list[str]:
        """Return the words themselves."""
        return [self.text[start:end] for start, end in self.spans]


def split(tokenizer: Tokenizer, text: str, most: int) -> Words:
    """Split the first ``most`` characters of a text as the tokenizer's normalizer and pre-tokenizer do.

    Words end where a grapheme cluster does: those that share one are a single word.
    Tokenizers of SentencePiece's kind split at blanks alone: there a comma belongs to the word before it.
    """
    from tokenizers import PreTokenizedString

    skipped = len(text) - len(text.lstrip())
    length = min(len(text), skipped + most)
    skipped += _dropped_at_start(tokenizer.normalizer, text[skipped:length])
    parts = PreTokenizedString(text[skipped:length])
    if tokenizer.normalizer is not None:
        parts.normalize(tokenizer.normalizer.normalize)
    if tokenizer.pre_tokenizer is not None:
        tokenizer.pre_tokenizer.pre_tokenize(parts)
    splits = parts.get_splits(offset_referential="original", offset_type="char")
    clusters = Clusters(text, length)
    places = (_without_blanks(text, skipped + start, skipped + end) for _, (start, end), _ in splits)
    spans = _merged(clusters.whole(*span) for span in places if span[0] < span[1])
    return Words(text, _as_encoded(tokenizer, text, spans), len(text.rstrip()) > length, length, clusters)


def joined(tokenizer: Tokenizer, words: Sequence[str], most: int) -> Words:
    """Join words by blanks, and cut the text to its first ``most`` characters."""
    spans, start = [], 0
    for word in words:
        spans.append((start, start + len(word)))
        start += len(word) + 1
    within = [(start, min(end, most)) for start, end in spans if start < most]
    text = " ".join(words)
    length = min(len(text), most)
    return Words(
        text, _as_encoded(tokenizer, text, within), cut=within != spans, length=length, clusters=Clusters(text, length)
    )


def _without_blanks(text: str, start: int, end: int) -> Span:
    """Strip blanks from a span: byte-level tokenizers count the blank before a word as its own."""
    word = text[start:end]
    start += len(word) - len(word.lstrip())
    return start, start + len(word.strip())


def _merged(spans: Iterable[Span]) -> list[Span]:
    """Join spans that overlap."""
    merged: list[Span] = []
    for start, end in spans:
        if merged and start < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _as_encoded(tokenizer: Tokenizer, text: str, spans: list[Span]) -> list[Span]:
    """Leave out what the normalizer drops at the start of a word, unless it drops the whole word."""
    normalizer = tokenizer.normalizer
    if normalizer is None:
        return spans
    encoded = []
    for start, end in spans:
        dropped = _dropped_at_start(normalizer, text[start:end])
        encoded.append((start + dropped if start + dropped < end else start, end))
    return encoded


def _dropped_at_start(normalizer: Normalizer | None, text: str) -> int:
    """Count the characters at a text's start of which nothing is left after normalization.

    SentencePiece's precompiled normalizer does not count them itself, so all its later places would be too small.
    """
    count = 0
    while normalizer is not None and count < len(text) and not normalizer.normalize_str(text[: count + 1]):
        count += 1
    return count
