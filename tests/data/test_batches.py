"""Texts to batches for every task: what is a row, what is a unit, and what order they come in."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE, WordPiece
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from edgedistill.data.batches import Encoded, encode, epoch_batches, make_batch, sorted_batches
from edgedistill.data.dataset import Split
from edgedistill.distillation.encoder_tokenizer import load_tokenizer

VOCABULARY = {name: i for i, name in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "c", "##d", "##e"])}


@pytest.fixture
def tokenizer() -> Tokenizer:
    """A piece is a letter: words of one to three tokens, and pairs as BERT has them."""
    made = Tokenizer(WordPiece(VOCABULARY, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


def test_single_texts_are_cut_with_the_special_tokens_kept(tokenizer: Tokenizer) -> None:
    data = encode(tokenizer, Split(("a b", "a b c a b"), (1, 0)), "text-classification", max_tokens=5, pad=0)
    assert data.truncated == 1
    assert data.ids == ((2, 4, 5, 3), (2, 4, 5, 6, 3))
    batch = make_batch(data, [1, 0])
    assert batch.input_ids.tolist() == [[2, 4, 5, 6, 3], [2, 4, 5, 3, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]]
    assert batch.labels is not None
    assert (batch.labels.tolist(), batch.labels.dtype) == ([0, 1], torch.int64)
    assert (batch.rows, len(batch), batch.units) == ((1, 0), 2, None)
    assert tokenizer.truncation is None


def test_a_word_by_itself_reads_as_it_does_behind_a_blank(tmp_path: Path) -> None:
    """A byte-level tokenizer, as RoBERTa's, tells words by the blank before them."""
    made = Tokenizer(BPE({"[PAD]": 0, "Ġ": 1, "a": 2, "b": 3, "Ġa": 4, "Ġb": 5}, [("Ġ", "a"), ("Ġ", "b")]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    PreTrainedTokenizerFast(tokenizer_object=made, pad_token="[PAD]").save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}')
    of_words = load_tokenizer(tmp_path, "token-classification", types=0, pairs=False).tokenizer
    of_texts = load_tokenizer(tmp_path, "text-classification", types=0, pairs=False).tokenizer
    data = encode(of_words, Split((("a", "b"),), ((0, 1),)), "token-classification", max_tokens=9, pad=0)
    assert data.ids == ((4, 5),)
    assert of_texts.encode("a b").ids == [2, 5]


def test_pairs_have_token_types_and_lose_of_the_longer_text(tokenizer: Tokenizer) -> None:
    split = Split((("a", "b c"), ("a b c a b c", "c")), (0.5, 2.0))
    data = encode(tokenizer, split, "text-regression", max_tokens=7, pad=0)
    assert data.ids == ((2, 4, 3, 5, 6, 3), (2, 4, 5, 6, 3, 6, 3))
    batch = make_batch(data, range(2))
    assert batch.token_type_ids.tolist() == [[0, 0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 0, 1, 1]]
    assert batch.labels is not None
    assert (batch.labels.tolist(), batch.labels.dtype) == ([0.5, 2.0], torch.float32)


def test_words_are_units_by_their_first_token(tokenizer: Tokenizer) -> None:
    split = Split((("ade", "b", "cd"), ("b",)), ((7, 8, 9), (5,)))
    data = encode(tokenizer, split, "token-classification", max_tokens=9, pad=0)
    assert data.ids[0] == (2, 4, 7, 8, 5, 6, 7, 3)
    assert data.words == ((1, 4, 5), (1,))
    batch = make_batch(data, [1, 0])
    assert batch.units is not None
    assert batch.units.dtype == torch.bool
    assert batch.input_ids[batch.units].tolist() == [5, 4, 5, 6]
    assert batch.labels is not None
    assert batch.labels.tolist() == [5, 7, 8, 9]
    assert [data.units(row) for row in (0, 1)] == [3, 1]


def test_words_that_are_cut_off_are_no_units(tokenizer: Tokenizer) -> None:
    split = Split((("ade", "b", "cd"), ("b",)), ((7, 8, 9), (5,)))
    data = encode(tokenizer, split, "token-classification", max_tokens=6, pad=0)
    assert (data.words, data.labels) == (((1, 4), (1,)), ((7, 8), (5,)))
    cut = encode(tokenizer, split, "token-classification", max_tokens=2, pad=0)
    batch = make_batch(cut, [0, 1])
    assert batch.labels is not None
    assert (batch.labels.tolist(), batch.labels.dtype) == ([], torch.int64)


def test_a_word_without_a_token_takes_its_label_along(tokenizer: Tokenizer) -> None:
    split = Split((("a", "\x00", "b"),), ((7, 8, 9),))
    data = encode(tokenizer, split, "token-classification", max_tokens=9, pad=0)
    assert (data.words, data.labels) == (((1, 2),), ((7, 9),))


def test_without_labels_words_are_units_all_the_same(tokenizer: Tokenizer) -> None:
    data = encode(tokenizer, Split((("ade", "b"),), None), "token-classification", max_tokens=9, pad=0)
    batch = make_batch(data, [0])
    assert batch.labels is None
    assert batch.units is not None
    assert batch.units.sum() == 2
    moved = batch.to(torch.device("cpu"))
    assert moved.labels is None
    assert moved.units is not None


def test_a_pair_of_sentences_to_embed_is_two_rows(tokenizer: Tokenizer) -> None:
    split = Split((("a", "b c"), ("c", "a")), (4.0, 1.5))
    data = encode(tokenizer, split, "sentence-embedding", max_tokens=9, pad=0)
    assert data.ids == ((2, 4, 3), (2, 5, 6, 3), (2, 6, 3), (2, 4, 3))
    assert data.labels == (4.0, 4.0, 1.5, 1.5)
    assert len(encode(tokenizer, Split(("a", "b"), None), "sentence-embedding", max_tokens=9, pad=0)) == 2


def test_a_subset_keeps_what_belongs_together(tokenizer: Tokenizer) -> None:
    split = Split((("ade", "b"), ("b",), ("c", "c")), ((7, 8), (5,), (6, 6)))
    data = encode(tokenizer, split, "token-classification", max_tokens=9, pad=0)
    part = data.subset([2, 0])
    assert (len(part), part.labels, part.words) == (2, ((6, 6), (7, 8)), ((1, 2), (1, 4)))


def test_an_epoch_has_every_row_once_and_follows_its_seed() -> None:
    lengths = [(7 * row) % 50 for row in range(1003)]
    batches = epoch_batches(lengths, 8, "0-1")
    assert sorted(row for batch in batches for row in batch) == list(range(1003))
    assert sorted(map(len, batches))[1:] == [8] * (len(batches) - 1)
    assert batches == epoch_batches(lengths, 8, "0-1") != epoch_batches(lengths, 8, "0-2")


def test_rows_of_a_batch_are_about_as_long() -> None:
    lengths = [(7 * row) % 50 for row in range(1000)]
    padding = sum(max(lengths[r] for r in b) - lengths[row] for b in epoch_batches(lengths, 8, "s") for row in b)
    assert padding < 0.1 * sum(lengths)
    firsts = [lengths[batch[0]] for batch in epoch_batches(lengths, 8, "s")]
    assert firsts != sorted(firsts)


def test_sorted_batches_have_every_row_by_length() -> None:
    ids = tuple((1,) * (1 + row % 5) for row in range(23))
    batches = list(sorted_batches(Encoded(ids, ids, None, None, 0), 4))
    assert sorted(row for batch in batches for row in batch.rows) == list(range(23))
    widths = [batch.input_ids.shape[1] for batch in batches]
    assert widths == sorted(widths)
