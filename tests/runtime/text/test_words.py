"""Texts in words, by real tokenizers of the kinds that the families have."""

from __future__ import annotations

import pytest
import sentencepiece_map
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
        (BYTE_LEVEL, "Turn|on|,|the|LAMPS|in|Café|'s|e\u0301|t\u00e9|x|\u200b|y|\U0001f600!"),
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
    words = joined(BERT, ["turn", "on", "x"], most)
    assert (words.text, words.spans, words.cut) == ("turn on x", spans, cut)


@pytest.mark.parametrize(
    ("normalizer", "text", "words"),
    [
        (normalizers.NFC(), "\u1107\u1161\u11a8\u11a8 ok", ["\u1107\u1161\u11a8\u11a8", "ok"]),
        (normalizers.NFC(), "Jose\u0301 x", ["Jose\u0301", "x"]),
        (normalizers.NFKC(), "1\u00bd x", ["1\u00bd", "x"]),
        (
            normalizers.NFC(),
            "\U0001f468\u200d\U0001f469 \u2764\ufe0f!",
            ["\U0001f468\u200d\U0001f469", "\u2764\ufe0f!"],
        ),
        (normalizers.NFC(), "\U0001f1e9\U0001f1ea", ["\U0001f1e9\U0001f1ea"]),
        (normalizers.NFC(), "\u0915\u094d\u0937\u093f x", ["\u0915\u094d\u0937\u093f", "x"]),
    ],
    ids=["hangul", "accent", "fraction", "emoji", "flag", "devanagari"],
)
def test_words_are_whole_grapheme_clusters(normalizer: normalizers.Normalizer, text: str, words: list[str]) -> None:
    """Byte-level tokenizers part a letter from its marks, and NFC's places are those of the first letter alone."""
    assert split(tokenizer(pre_tokenizers.ByteLevel(add_prefix_space=True), normalizer), text, 1000).strings() == words


def test_what_a_precompiled_normalizer_drops_moves_no_later_word() -> None:
    """Its own places are too small by what it drops at the start."""
    kind = tokenizer(
        pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]),
        sentencepiece_map.normalizer({"\x01": "", "\u200d": ""}),
    )
    assert split(kind, " \x01\u200dJohn Smith", 1000).strings() == ["John", "Smith"]
    assert joined(kind, ["\x01John", "\x01"], 1000).strings() == ["John", "\x01"]
