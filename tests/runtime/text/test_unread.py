"""What no token stands for never leaves: held over tokenizers of every kind, and texts that hide something."""

from __future__ import annotations

import copy
import itertools
import unicodedata
from pathlib import Path

import pytest
import regex
import sentencepiece_map
import tiny_palette
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_characters import KINDS
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from edgedistill.errors import InputError
from edgedistill.palette import load
from edgedistill.runtime import Tagged, TokenClassifier
from edgedistill.runtime.text.entities import Word, entities_of
from edgedistill.runtime.text.tokenization import EncodedWords, TextTokenizer

WORDS = tiny_palette.WORDS
HIDDEN = "".join(chr(0xE0000 + ord(letter)) for letter in "John Smith")
PRIVATE = "".join(chr(0xE000 + ord(letter)) for letter in "John")


def _model(kind: str) -> models.Model:
    """No id beyond those of the tiny palette's words."""
    if kind == "WordLevel":
        return models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]")
    if kind == "WordPiece":
        pieces = [*WORDS[:4], "a", "##a", "J", "##o", "e", "##e", "lamp", "the"]
        return models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]")
    if kind == "BPE":  # without an unknown token: what it has no piece for leaves no trace
        pieces = [*WORDS[:4], "a", "J", "o", "\u0301", "e", "lamp", "music", "the lamp", "the"]
        return models.BPE({piece: i for i, piece in enumerate(pieces)}, [], ignore_merges=True)
    if kind == "Unigram":
        pieces = [*WORDS[:4], "▁", "▁a", "a", "J", "o", "e", "▁the", "▁lamp"]
        return models.Unigram([(piece, -float(i)) for i, piece in enumerate(pieces)], unk_id=1)
    letters = dict.fromkeys(pre_tokenizers.ByteLevel.alphabet(), 0)  # byte-level: every letter has tokens
    return models.BPE({letter: i for i, letter in enumerate([*WORDS[:4], *letters])}, [])


MODELS = ["WordLevel", "WordPiece", "BPE", "Unigram", "bytes"]
NORMALIZERS = {
    "none": None,
    "BERT": normalizers.BertNormalizer(lowercase=True),
    "cased BERT": normalizers.BertNormalizer(lowercase=False),
    "NFC": normalizers.NFC(),
    "NFKC": normalizers.NFKC(),
    "NFD without accents": normalizers.Sequence(
        [normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()]
    ),
    "Nmt": normalizers.Nmt(),
    "Replace": normalizers.Sequence([normalizers.Replace("J", ""), normalizers.Replace("o", "oho")]),
    "Strip": normalizers.Sequence([normalizers.Strip(), normalizers.Replace(Regex(r"[^\x00-\x7f]+"), " ")]),
    "Prepend": normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
    "precompiled": sentencepiece_map.normalizer(
        {"\u200b": " ", "\u200d": "", "\x01": "", "e\u0301": "\u00e9", "\ufb01": "fi", "\u00ad": ""}
    ),
}
PRE_TOKENIZERS = {
    "none": None,
    "BERT": pre_tokenizers.BertPreTokenizer(),
    "Whitespace": pre_tokenizers.Whitespace(),
    "Metaspace": pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]),
    "bytes": pre_tokenizers.ByteLevel(add_prefix_space=True),
    "Split": pre_tokenizers.Split(Regex("[ao]"), "removed"),
}
LETTERS = KINDS + "Joe lamp the İßﬁ½\x00\x01\x1c\u0363\u115f\u2800\u3164" + HIDDEN


def make(model: str, normalizer: str, pre_tokenizer: str) -> Tokenizer:
    tokenizer = Tokenizer(_model(model))
    if (normal := NORMALIZERS[normalizer]) is not None:
        tokenizer.normalizer = normal
    if (splitter := PRE_TOKENIZERS[pre_tokenizer]) is not None:
        tokenizer.pre_tokenizer = splitter
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str, str], TextTokenizer]:
    """A reader of each combination; the palette's own tokenizer is exchanged."""
    reader = TextTokenizer(
        load(tiny_palette.write(tmp_path_factory.mktemp("readers") / "palette", tiny_palette.TAGGED))
    )
    readers = {}
    for kind in itertools.product(MODELS, NORMALIZERS, PRE_TOKENIZERS):
        readers[kind] = copy.copy(reader)
        readers[kind]._tokenizer = make(*kind)
        readers[kind]._tokenizer.enable_truncation(tiny_palette.MAX_TOKENS)
    return readers


def tagged(read: EncodedWords, tags: str) -> Tagged:
    """As the pipeline makes it, with tags by the words' places."""
    words = []
    for index in read.first_tokens():
        start, end = read.words.spans[index]
        words.append(Word(index, read.words.text[start:end], start, end, "BO"[int(tags[index % len(tags)])], 0.9))
    text, clusters = read.words.text, read.words.clusters
    return Tagged(text, tuple(entities_of(text, words, clusters)), tuple(words), "s", 1.0, read.truncated, read.unread)


def survivors(found: Tagged) -> list[int]:
    """The places of the characters that a redacted text has."""
    masked = [(entity.start, entity.end) for entity in found.entities] + list(found.unread)
    return [i for i in range(len(found.text)) if not any(start <= i < end for start, end in masked)]


@settings(deadline=None, max_examples=400)
@given(
    st.tuples(*map(st.sampled_from, (MODELS, list(NORMALIZERS), list(PRE_TOKENIZERS)))),
    st.lists(st.text(st.sampled_from(LETTERS), min_size=1, max_size=9).filter(str.strip), min_size=1, max_size=4),
    st.booleans(),
    st.text(st.sampled_from("01"), min_size=1, max_size=4),
)
def test_what_survives_was_read_and_found_harmless(
    readers: dict[tuple[str, str, str], TextTokenizer],
    kind: tuple[str, str, str],
    words: list[str],
    joined: bool,
    tags: str,
) -> None:
    reader = readers[kind]
    found = tagged(reader.read_words(" ".join(words) if joined else words, 1), tags)
    harmless = [word for word in found.words if word.tag == "O"]
    left = survivors(found)
    for place in left:
        if not found.text[place].isspace():
            assert any(word.start <= place < word.end for word in harmless), ascii((found, place))
    _assert_unknown_characters_are_gone(reader, found, left)
    _assert_dropped_characters_are_gone(reader, found, left)
    ends = {0, *(match.end() for match in regex.finditer(r"\X", found.text))}
    assert {end for span in found.unread for end in span} <= ends
    assert {end for entity in found.entities for end in (entity.start, entity.end)} <= ends
    assert all(found.text[one.start : one.end] == one.text for one in (*found.entities, *found.words))
    if not found.truncated:
        # The marks are a private character each, so that the rest of the text is told from them.
        rest = found.redacted(mask="\U0010fffd").replace("\U0010fffd", "")
        assert rest == "".join(found.text[place] for place in left)


def _assert_dropped_characters_are_gone(reader: TextTokenizer, found: Tagged, left: list[int]) -> None:
    """Of what the normalizer drops by itself, only marks that a composed spelling has too may stay."""
    normalizer = reader._tokenizer.normalizer
    if normalizer is None:
        return
    for place in left:
        character = found.text[place]
        if character.strip() and not normalizer.normalize_str(character):
            cluster = next(m for m in regex.finditer(r"\X", found.text) if m.start() <= place < m.end())[0]
            assert character not in unicodedata.normalize("NFC", cluster), ascii((found, place))


def _assert_unknown_characters_are_gone(reader: TextTokenizer, found: Tagged, left: list[int]) -> None:
    """Of what a model without an unknown token has no piece for."""
    tokenizer = reader._tokenizer
    if (
        tokenizer.normalizer is None
        and tokenizer.pre_tokenizer is None
        and tokenizer.token_to_id("the lamp") is not None
    ):
        unknown = [found.text[place] for place in left if tokenizer.token_to_id(found.text[place]) is None]
        assert set(unknown) <= set("the lamp" + "\t\r\n\x1c"), ascii(found)


@pytest.fixture
def tagger_of(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Makes a tagger that finds lamps, music and timers, with a tokenizer of a kind."""

    def made(model: str, normalizer: str, pre_tokenizer: str) -> TokenClassifier:
        folder = tiny_palette.write(tmp_path / "palette", tiny_palette.TAGGED)
        make(model, normalizer, pre_tokenizer).save(str(folder / "tokenizer.json"))
        return TokenClassifier(tiny_palette.reseal(folder), threads=1)

    return made


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("the lamp " + HIDDEN, "the [thing][unread]"),
        ("the " + HIDDEN + " lamp", "the[unread] [thing]"),
        ("the lamp" + HIDDEN, "the [thing]"),
        ("the" + HIDDEN + " a", "th[unread] a"),
        ("the lamp " + PRIVATE, "the [thing] [unread]"),
        ("on \u200b\u200c\u200d\u2060 a", "on [unread] a"),
        ("o\u200bn \u202ea\u202c", "o[unread]n [unread]a[unread]"),
        ("a\x01 b\x1c \x7f c", "a[unread] b[unread] [unread] c"),
        ("caf\u00e9 cafe\u0301 on\u0363", "caf\u00e9 cafe\u0301 o[unread]"),
        ("\u2764\ufe0f \u2764", "[unread] \u2764"),
        ("\u0939\u0941 lamp", "[unread] [thing]"),
        ("\U0001f468\u200d\U0001f469 lamp", "[unread] [thing]"),
        ("the\ufe0f\ufe0f\ufe0f lamp", "th[unread] [thing]"),
        ("\ufeffthe lamp", "[unread]the [thing]"),
        (["the", HIDDEN, "lamp"], "the[unread] [thing]"),
        (["\x01the", "\x01", "lamp\x01"], "[unread]the [unread] [thing]"),
    ],
    ids=ascii,
)
def test_what_bert_drops_is_masked(tagger_of, text: object, redacted: str) -> None:  # type: ignore[no-untyped-def]
    with tagger_of("WordLevel", "BERT", "BERT") as tagger:
        (found,) = tagger.tag([text])
    assert found.redacted() == redacted


@pytest.mark.parametrize(
    ("kind", "text", "redacted"),
    [
        (("BPE", "none", "Whitespace"), "the J\u5c71\u7530 \u5c71 Joe", "the [unread] [unread] Joe"),
        (("BPE", "none", "none"), "the lamp", "the lamp"),
        (("BPE", "none", "none"), "a lamp J", "[unread] [unread] [unread]"),
        (("WordLevel", "NFC", "Whitespace"), "lamp Jose\u0301 a", "[thing] Jose\u0301 a"),
        (("WordLevel", "precompiled", "Metaspace"), "\x01lamp a", "[unread]lamp a"),
        (("WordLevel", "precompiled", "Whitespace"), "\x01lamp a \x01", "[unread][thing] a [unread]"),
    ],
)
def test_what_has_no_token_is_masked(tagger_of, kind: tuple[str, str, str], text: str, redacted: str) -> None:  # type: ignore[no-untyped-def]
    with tagger_of(*kind) as tagger:
        (found,) = tagger.tag([text])
    assert found.redacted() == redacted


def test_the_mask_of_what_is_unread_is_the_caller_s(tagger_of) -> None:  # type: ignore[no-untyped-def]
    with tagger_of("WordLevel", "BERT", "BERT") as tagger:
        (found,) = tagger.tag(["the lamp " + PRIVATE])
    assert found.unread == ((9, 13),)
    assert found.redacted(mask="<{label}>") == "the <thing> <unread>"
    assert found.redacted(mask="*") == "the * *"
    with pytest.raises(InputError, match="mask is a int"):
        found.redacted(mask=3)  # type: ignore[arg-type]


def test_the_rest_of_a_long_text_is_unread(tagger_of) -> None:  # type: ignore[no-untyped-def]
    with tagger_of("WordLevel", "BERT", "BERT") as tagger:
        (found,) = tagger.tag(["lamp " * 9000])
    words = tiny_palette.MAX_TOKENS - 2
    assert found.truncated
    assert found.unread[0] == (5 * words, 5 * words + 4)
    assert found.unread[-1][1] == 5 * 9000


@pytest.mark.parametrize("text", ["\u5c71\u7530", ["\u5c71", "\u7530"]])
def test_a_text_without_any_token_is_refused(tmp_path: Path, text: object) -> None:
    folder = tiny_palette.write(tmp_path / "palette", tiny_palette.TAGGED)
    tokenizer = Tokenizer(_model("BPE"))
    tokenizer.save(str(folder / "tokenizer.json"))
    with (
        TokenClassifier(tiny_palette.reseal(folder), threads=1) as tagger,
        pytest.raises(InputError, match="text 2 has no tokens"),
    ):
        tagger.tag(["a", text])


@pytest.mark.parametrize("text", ["lamp \u5c71", ["lamp", "\u5c71"]])
def test_a_text_that_the_tokenizer_fails_at_is_refused(tmp_path: Path, text: object) -> None:
    folder = tiny_palette.write(tmp_path / "palette", tiny_palette.TAGGED)
    tokenizer = Tokenizer(models.WordLevel({"lamp": 7}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    with (
        TokenClassifier(tiny_palette.reseal(folder), threads=1) as tagger,
        pytest.raises(InputError, match="text 1 cannot be split into the model's tokens"),
    ):
        tagger.tag([text])
