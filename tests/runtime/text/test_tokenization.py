"""A text is read on the device as it was in training, token for token."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_palette
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from edgedistill.data.batches import encode, make_batch
from edgedistill.data.dataset import Split
from edgedistill.palette import load
from edgedistill.runtime.text.tokenization import EncodedText, TextTokenizer
from edgedistill.tasks import TaskName
from edgedistill.tasks.fields import Text

_PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "c", "##a", "##b", "##c", ","]


def _word_piece() -> Tokenizer:
    made = Tokenizer(models.WordPiece({name: i for i, name in enumerate(_PIECES)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


def _byte_level() -> Tokenizer:
    """As RoBERTa's, with a blank put before each word, as an export for token classification has it."""
    letters = pre_tokenizers.ByteLevel.alphabet()
    vocabulary = {name: i for i, name in enumerate(["<s>", "<pad>", "</s>", *sorted(letters), "Ġa", "Ġb", "ab"])}
    made = Tokenizer(models.BPE(vocabulary, [("Ġ", "a"), ("Ġ", "b"), ("a", "b")]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return made


def _sentence_piece() -> Tokenizer:
    scores = {"<pad>": 0.0, "<unk>": 0.0, "▁": -3.0, "▁a": -1.0, "a": -2.0, "b": -2.0, "c": -2.0, ",": -2.0}
    made = Tokenizer(models.Unigram(list(scores.items()), unk_id=1))
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    return made


def _reader(folder: Path, kind: tiny_palette.Kind, tokenizer: Tokenizer) -> TextTokenizer:
    tiny_palette.write(folder, kind)
    tokenizer.save(str(folder / "tokenizer.json"))
    return TextTokenizer(load(tiny_palette.reseal(folder)))


def _assert_as_in_training(
    reader: TextTokenizer, read: list[EncodedText], tokenizer: Tokenizer, texts: tuple[Text, ...], task: TaskName
) -> None:
    data = encode(tokenizer, Split(texts, None), task, max_tokens=tiny_palette.MAX_TOKENS, pad=0)
    batch = make_batch(data, range(len(texts)))
    for name, feed in reader.feeds(read).items():
        np.testing.assert_array_equal(feed, getattr(batch, name).numpy())


@pytest.mark.parametrize("make", [_word_piece, _byte_level, _sentence_piece])
def test_words_and_their_first_tokens_are_those_of_training(tmp_path: Path, make: type[Tokenizer]) -> None:
    texts = (("ab", "c,a", "b"), ("abc",) * 9, ("a",))
    tokenizer = make()
    reader = _reader(tmp_path / "palette", tiny_palette.TAGGED, tokenizer)
    read = [reader.read_words(list(words), 1) for words in texts]
    _assert_as_in_training(reader, list(read), tokenizer, texts, "token-classification")
    data = encode(tokenizer, Split(texts, None), "token-classification", max_tokens=tiny_palette.MAX_TOKENS, pad=0)
    assert tuple(tuple(one.first_tokens().values()) for one in read) == data.words
    assert [one.truncated for one in read] == [False, True, False]


@pytest.mark.parametrize("make", [_word_piece, _byte_level, _sentence_piece])
def test_a_string_is_read_as_its_words(tmp_path: Path, make: type[Tokenizer]) -> None:
    reader = _reader(tmp_path / "palette", tiny_palette.TAGGED, make())
    by_text, by_words = reader.read_words(" ab  c, a", 1), reader.read_words(["ab", "c", ",", "a"], 1)
    if make is _sentence_piece:  # splits at blanks alone
        by_words = reader.read_words(["ab", "c,", "a"], 1)
    assert by_text.encoding.ids == by_words.encoding.ids
    assert by_text.words.strings() == by_words.words.strings()


def test_pairs_are_those_of_training(tmp_path: Path) -> None:
    texts = (("a", "b c"), ("a b c " * 9, "c"), ("c", "abc " * 9))
    reader = _reader(tmp_path / "palette", tiny_palette.PAIRS, _word_piece())
    read = [reader.read(pair, 1) for pair in texts]
    _assert_as_in_training(reader, read, _word_piece(), texts, "text-classification")
    assert [one.truncated for one in read] == [False, True, True]
