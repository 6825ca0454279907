"""Tags to entities, held against what training scores them by."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from edgedistill.runtime.text.entities import Word, entities_of
from edgedistill.runtime.text.graphemes import Clusters
from edgedistill.tasks.metrics import _as_bio

TAGS = ["O", *(f"{kind}-{label}" for kind in "BIES" for label in ("place", "thing")), "NOUN", "thing", "B", "I"]


def words_of(tags: list[str]) -> tuple[str, list[Word]]:
    """A text of words of one letter, and the words."""
    letters = [chr(ord("a") + place % 26) for place in range(len(tags))]
    words = [
        Word(i, letter, 2 * i, 2 * i + 1, tag, 0.5) for i, (letter, tag) in enumerate(zip(letters, tags, strict=True))
    ]
    return " ".join(letters), words


@given(st.lists(st.sampled_from(TAGS), max_size=12))
def test_entities_are_seqeval_s(tags: list[str]) -> None:
    found = entities_of(*words_of(tags), Clusters(""))
    expected = get_entities([_as_bio(tag) for tag in tags])
    assert [(one.label, one.start // 2, (one.end - 1) // 2) for one in found] == expected


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        (["B-place", "I-place", "O", "B-thing"], ["place: a b", "thing: d"]),
        (["B-place", "B-place"], ["place: a", "place: b"]),
        (["O", "I-place", "I-place"], ["place: b c"]),
        (["B-place", "I-thing"], ["place: a", "thing: b"]),
        (["NOUN", "NOUN", "VERB"], ["NOUN: a", "NOUN: b", "VERB: c"]),
        (["O", "O"], []),
        ([], []),
    ],
)
def test_where_entities_begin_and_end(tags: list[str], spans: list[str]) -> None:
    assert [f"{one.label}: {one.text}" for one in entities_of(*words_of(tags), Clusters(""))] == spans


def test_a_score_is_the_mean_of_the_words() -> None:
    words = [Word(0, "a", 0, 1, "B-place", 0.9), Word(2, "c", 4, 5, "I-place", 0.5)]
    (found,) = entities_of("a b c", words, Clusters("a b c"))
    assert (found.score, found.text) == (pytest.approx(0.7), "a b c")


def test_an_entity_is_whole_grapheme_clusters() -> None:
    """Words that a caller gave may end within one: here the third begins with an accent of the blank before it."""
    text = "a b \u0301c"
    (found,) = entities_of(text, [Word(2, "\u0301c", 4, 6, "thing", 0.5)], Clusters(text))
    assert (found.text, found.start, found.end) == (" \u0301c", 3, 6)
