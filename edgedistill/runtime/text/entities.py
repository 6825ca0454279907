"""Tags of words to entities, read as training scores them: as seqeval does by default, and conlleval before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgedistill.runtime.text.graphemes import Clusters

__all__ = ["Entity", "Word", "entities_of"]

_PREFIXES = ("B-", "I-", "E-", "S-")  # first, inside, end and single word of an entity
_OUTSIDE = "O"


@dataclass(frozen=True, slots=True)
class Word:
    """A word that was read, and its tag.

    Attributes:
        index: which word of the text it is, from 0: words of unknown characters alone are not read.
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
    """Words that belong together.

    Attributes:
        label: what it is, without the tags' B- or I-.
        text: its words, with what lies between them.
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
    found = []
    for label, first, last in _spans([word.tag for word in words]):
        inside = words[first : last + 1]
        start, end = clusters.whole(inside[0].start, inside[-1].end)
        score = sum(word.score for word in inside) / len(inside)
        found.append(Entity(label, text[start:end], start, end, score))
    return found


def _spans(tags: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """Label, first and last word of each entity. What goes on with nothing of its kind before it begins one."""
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
    """A tag's kind and label; one that is no BIO is an entity of one word."""
    if tag == _OUTSIDE:
        return _OUTSIDE, ""
    return (tag[0], tag[2:]) if tag.startswith(_PREFIXES) else ("B", tag)
