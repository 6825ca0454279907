"""Running text in rows of equal length: every token once and in order, ends between documents."""

from __future__ import annotations

from pathlib import Path

import pytest
import shared_data
import tiny_text
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from tokenizers.processors import TemplateProcessing

from edgedistill.data import packing
from edgedistill.data.batches import Encoded, make_batch
from edgedistill.data.packing import pack
from edgedistill.errors import DataError, ModelError
from edgedistill.supernet.llama2c_tokenizer import BEGIN, load_llama2c_tokenizer

VOCABULARY = {word: i for i, word in enumerate(["[UNK]", "<s>", "</s>", *"abcdefghij"])}


def _tokenizer(*, begun: bool = False, ended: bool = False) -> Tokenizer:
    made = Tokenizer(WordLevel(VOCABULARY, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    single = f"{'<s> ' if begun else ''}$A{' </s>' if ended else ''}"
    special = [(token, VOCABULARY[token]) for token, is_set in (("<s>", begun), ("</s>", ended)) if is_set]
    if special:
        made.post_processor = TemplateProcessing(single=single, special_tokens=special)
    return made


def _pack(texts: list[str], tokens: int, ends: tuple[int, ...] = (2,), **marks: bool) -> Encoded:
    return pack(_tokenizer(**marks), texts, "here", vocabulary=13, tokens=tokens, pad=0, ends=ends)


def _letters(rows: Encoded) -> str:
    names = {index: name for name, index in VOCABULARY.items()} | {1: "<", 2: ">"}
    return " ".join("".join(names[one] for one in row) for row in rows.ids)


@pytest.mark.parametrize(
    ("marks", "ends", "packed"),
    [
        ({}, (2,), "abc>d e>fgh ij>ab"),
        ({}, (), "abcde fghij"),
        ({"begun": True}, (2,), "<abc> <de>< fghij ><ab>"),
        ({"begun": True, "ended": True}, (2, 9), "<abc> <de>< fghij ><ab>"),
        ({"begun": True}, (), "<abc< de<fg hij<a"),
        ({"begun": True}, (1, 2), "abc<d e<fgh ij<ab"),  # as llama2.c's models were trained
    ],
)
def test_documents_are_joined_with_one_end_and_cut_without_padding(
    marks: dict[str, bool], ends: tuple[int, ...], packed: str
) -> None:
    rows = _pack(["a b c", "d e", "f g h i j", "a b"], 5, ends, **marks)
    assert _letters(rows) == packed


def test_every_token_but_a_rows_first_is_told_by_those_before_it() -> None:
    rows = _pack(["a b c d e f g h"], 4)
    batch = make_batch(rows, range(len(rows)))
    assert batch.attention_mask.all()
    assert batch.units is not None
    assert batch.labels is not None
    assert batch.labels.tolist() == batch.input_ids[:, 1:].flatten().tolist()
    assert batch.units.tolist() == [[True, True, True, False]] * 2
    assert rows.units(0) == 3


def test_a_long_text_is_tokenized_in_pieces_to_the_same_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    text = tiny_text.text(500).replace("w", "a ")
    whole = _pack([text, "a b"], 5)
    monkeypatch.setattr(packing, "_PIECE", 100)
    monkeypatch.setattr(packing, "_TOGETHER", 3)
    assert _pack([text, "a b"], 5) == whole


def test_a_real_tokenizers_text_comes_out_again() -> None:
    folder = shared_data.folder("stories260K")
    tokenizer = load_llama2c_tokenizer(Path(folder) / "tok512.bin", 512)
    texts = ["Once upon a time there was a dog.\nIt ran.", "The end came soon for all of them."]
    rows = pack(tokenizer, texts, "here", vocabulary=512, tokens=8, pad=0, ends=(BEGIN, 2))
    stream = [one for row in rows.ids for one in row]
    assert stream.count(BEGIN) == 1
    assert tokenizer.decode(stream[: stream.index(BEGIN)]) == texts[0]


def test_too_little_text_and_anothers_tokenizer_are_refused() -> None:
    with pytest.raises(DataError, match="here has 4 tokens, too few for one row of 5; give more text"):
        _pack(["a b c"], 5)
    with pytest.raises(ModelError, match="gives the id 12, and the model's vocabulary has 12; give the tokenizer"):
        pack(_tokenizer(), ["a b j"], "here", vocabulary=12, tokens=3, pad=0, ends=())
