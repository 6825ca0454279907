"""Texts in words, by real tokenizers of the kinds that the families have."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from edgedistill.runtime.text.words import joined, split

_TEXT = "  Turn on, the LAMPS in Café's\n e\u0301t\u00e9 x\u200by \U0001f600!"


def tokenizer(pre_tokenizer: pre_tokenizers.PreTokenizer, normalizer: normalizers.Normalizer | None) -> Tokenizer:
    made = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        made.normalizer = normalizer
    return made


BERT = tokenizer(pre_tokenizers.BertPreTokenizer(), normalizers.BertNormalizer(lowercase=True))
BYTE_LEVEL = tokenizer(pre_tokenizers.ByteLevel(add_prefix_space=True), None)
SENTENCE_PIECE = tokenizer(
    pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]), normalizers.NFKC()
)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (BERT, "Turn|on|,|the|LAMPS|in|Café|'|s|e\u0301t\u00e9|x\u200by|\U0001f600|!"),
        (BYTE_LEVEL, "Turn|on|,|the|LAMPS|in|Café|'s|e|\u0301|t\u00e9|x|\u200b|y|\U0001f600!"),
        (SENTENCE_PIECE, "Turn|on,|the|LAMPS|in|Café's|e\u0301t\u00e9|x\u200by|\U0001f600!"),
    ],
    ids=["bert", "byte level", "sentence piece"],
)
def test_words_are_the_tokenizer_s_and_lie_where_they_are_said_to(kind: Tokenizer, expected: str) -> None:
    words = split(kind, _TEXT, 1000)
    assert "|".join(words.strings()) == expected
    assert (words.text, words.cut) == (_TEXT, False)


def test_writing_without_blanks_is_split_as_bert_splits_it() -> None:
    assert split(BERT, "\u5317\u4eac ok", 1000).spans == [(0, 1), (1, 2), (3, 5)]


def test_a_tokenizer_that_splits_nothing_takes_a_text_as_one_word() -> None:
    assert split(Tokenizer(models.Unigram()), " turn on ", 1000).spans == [(1, 8)]


@pytest.mark.parametrize(("most", "spans", "cut"), [(7, [(2, 6), (7, 9)], False), (6, [(2, 6), (7, 8)], True)])
def test_a_long_text_is_cut_behind_its_blanks(most: int, spans: list[tuple[int, int]], cut: bool) -> None:
    words = split(BERT, "  turn on   ", most)
    assert (words.spans, words.cut) == (spans, cut)


@pytest.mark.parametrize(
    ("most", "spans", "cut"),
    [(9, [(0, 4), (5, 7), (8, 9)], False), (6, [(0, 4), (5, 6)], True), (5, [(0, 4)], True), (2, [(0, 2)], True)],
)
def test_given_words_are_joined_by_blanks(most: int, spans: list[tuple[int, int]], cut: bool) -> None:
    words = joined(["turn", "on", "x"], most)
    assert (words.text, words.spans, words.cut) == ("turn on x", spans, cut)
