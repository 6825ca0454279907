"""Group tagged words into entities as training scores them: like seqeval's default, and conlleval before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgedistill.runtime.text.graphemes import Clusters

__all__ = ["Entity", "Word", "entities_of"]

_PREFIXES = ("B-", "I-", "E-", "S-")  # first, inside, end and single word of an entity
_OUTSIDE = "O"


@dataclass(frozen=True, slots=True)
class Word:
    """Hold a word and its tag.

    Attributes:
        index: its index among the words of the text; words of unknown characters alone are left out.
        text: the word.
        start: where it begins, in characters of the text.
        end: where it ends: the character behind its last.
        tag: the most probable tag, as the palette's labels have it.
        score: the tag's probability, 0 to 1.
    """

    index: int
    text: str
    start: int
    end: int
    tag: str
    score: float


@dataclass(frozen=True, slots=True)
class Entity:
    """Hold the words of an entity.

    Attributes:
        label: what it is, without the tags' B- or I-.
        text: its words, with the text between them.
        start: where it begins, in characters of the text.
        end: where it ends: the character behind its last.
        score: the mean probability of its words' tags, 0 to 1.
    """

    label: str
    text: str
    start: int
    end: int
    score: float


def entities_of(text: str, words: Sequence[Word], clusters: Clusters) -> list[Entity]:
    """Return the entities of a text by its words, in order; each is whole grapheme clusters."""
    entities = []
    for label, first, last in _spans([word.tag for word in words]):
        inside = words[first : last + 1]
        start, end = clusters.whole(inside[0].start, inside[-1].end)
        score = sum(word.score for word in inside) / len(inside)
        entities.append(Entity(label, text[start:end], start, end, score))
    return entities


def _spans(tags: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """Yield label, first and last word of each entity; a continuation without a start begins one."""
    open_: tuple[str, int] | None = None
    before = _parts(_OUTSIDE)
    for place, (kind, label) in enumerate(map(_parts, [*tags, _OUTSIDE])):
        goes_on = kind in ("I", "E") and before[0] in ("B", "I") and label == before[1]
        if open_ is not None and not goes_on:
            yield (*open_, place - 1)
        if not goes_on:
            open_ = None if kind == _OUTSIDE else (label, place)
        before = kind, label


def _parts(tag: str) -> tuple[str, str]:
    """Return a tag's kind and label; a tag that is not BIO is an entity of one word."""
    if tag == _OUTSIDE:
        return _OUTSIDE, ""
    return (tag[0], tag[2:]) if tag.startswith(_PREFIXES) else ("B", tag)
