"""Find the characters of a text that no token stands for, so that the model never sees them."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgedistill.runtime.text.graphemes import Span
from edgedistill.runtime.text.words import Words

if TYPE_CHECKING:
    from tokenizers import Encoding
    from tokenizers.normalizers import Normalizer

__all__ = ["unread_spans"]

_UNCOVERED, _COVERED, _DROPPED = range(3)
_SEPARATORS = "\x1c\x1d\x1e\x1f"  # control characters that Python counts as blanks, and Unicode does not


def unread_spans(words: Words, encoding: Encoding, normalizer: Normalizer | None) -> tuple[Span, ...]:
    """Return the parts of a text that were not read, as whole grapheme clusters, in order.

    A character was read if the normalizer kept it, and tokens stand for all that it kept of the word. So was
    an accent or a Hangul letter that forms one character with what was read before it: both spellings are equal then.
    Blanks need no reading.
    """
    read = _read_characters(words, encoding, normalizer)
    spans: list[Span] = []
    end = 0
    for place, is_read in enumerate(read):
        if is_read or place < end or _is_blank(words.text[place]):
            continue
        start, end = words.clusters.whole(place, place + 1)
        if not _is_composed(words.text[start:end], read[start:end]):
            spans.append((start, end))
    if not all(map(_is_blank, words.text[words.length :])):
        spans.append((words.length, len(words.text)))
    return tuple(_without_gaps(spans))


def _read_characters(words: Words, encoding: Encoding, normalizer: Normalizer | None) -> bytearray:
    """Return 1 for each character that was read, and 0 for the others."""
    read = bytearray(words.length)
    for index, covered in _covered(words, encoding).items():
        start, end = words.spans[index]
        word = words.text[start:end]
        for place in _dropped(normalizer, word):
            covered[place] = _DROPPED
        # A model without an unknown token skips what it does not know, and its later places are too small by that.
        # So of a word with a gap none is taken for read.
        if not any(state == _UNCOVERED and not _is_blank(word[place]) for place, state in enumerate(covered)):
            read[start:end] = covered.replace(bytes([_DROPPED]), b"\0")
    return read


def _covered(words: Words, encoding: Encoding) -> dict[int, bytearray]:
    """Return for each word with a token which of its characters the tokens' spans have."""
    covered: dict[int, bytearray] = {}
    for index, (start, end) in zip(encoding.word_ids, encoding.offsets, strict=True):
        if index is not None:
            if index not in covered:
                covered[index] = bytearray(words.spans[index][1] - words.spans[index][0])
            covered[index][start:end] = bytes([_COVERED]) * (end - start)
    return covered


def _dropped(normalizer: Normalizer | None, word: str) -> Iterator[int]:
    """Yield the places of characters that the normalizer drops, or turns into a blank."""
    if normalizer is None:
        return
    normalized = normalizer.normalize_str(word)
    if normalized == word or (word.isascii() and normalized == word.lower()):
        return
    left = bytearray(len(word))
    for character, (start, end) in _aligned(normalizer, word):
        if not character.isspace():
            left[start:end] = b"\1" * (end - start)
    yield from (place for place, is_left in enumerate(left) if not is_left)


def _aligned(normalizer: Normalizer, word: str) -> Iterator[tuple[str, Span]]:
    """Yield each character of the normalized word, and which of the word's own it was made of."""
    from tokenizers import PreTokenizedString, Regex
    from tokenizers.pre_tokenizers import Split

    parts = PreTokenizedString(word)
    parts.normalize(normalizer.normalize)
    Split(Regex(r"[\s\S]"), "isolated").pre_tokenize(parts)
    for character, span, _ in parts.get_splits(offset_referential="original", offset_type="char"):
        yield character, span


def _is_composed(cluster: str, read: bytearray) -> bool:
    """Return whether the first character was read, and all others too or are part of it in composed form."""
    if not read[0]:
        return False
    unread = Counter(character for character, is_read in zip(cluster, read, strict=True) if not is_read)
    if len(unicodedata.normalize("NFKC", cluster)) == 1:
        return True
    return unread <= Counter(cluster) - Counter(unicodedata.normalize("NFC", cluster))


def _is_blank(character: str) -> bool:
    return character.isspace() and character not in _SEPARATORS


def _without_gaps(spans: list[Span]) -> Iterator[Span]:
    """Join spans that touch."""
    joined: Span | None = None
    for start, end in spans:
        if joined is not None and start <= joined[1]:
            joined = joined[0], max(end, joined[1])
            continue
        if joined is not None:
            yield joined
        joined = start, end
    if joined is not None:
        yield joined
