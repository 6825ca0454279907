"""A checkpoint's tokenizer: as transformers reads it, fitting the embedding table, or refused with the key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_encoder
import tiny_text
import tiny_training
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from edgedistill.data.dataset import Columns, TaskData
from edgedistill.distillation import mlfs
from edgedistill.distillation.encoder_tokenizer import load_tokenizer
from edgedistill.distillation.models import resolve_model
from edgedistill.errors import ModelError

TEXTS = ["w1 w2", "W3 W4", "w5 w6 w7 w8 w9 w10 w11 w12", "[MASK] w1"]


def _add(folder: Path, **tokens: Any) -> None:
    """Add tokens to the tokenizer, as users do, without rows for them in the embedding table."""
    wrapper = AutoTokenizer.from_pretrained(folder)
    if "pad" in tokens:
        wrapper.add_special_tokens({"pad_token": tokens["pad"]})
    wrapper.add_tokens(tokens.get("plain", []))
    wrapper.add_special_tokens({"additional_special_tokens": tokens.get("special", [])})
    wrapper.save_pretrained(folder)


@pytest.mark.parametrize("decoder", [False, True])
@pytest.mark.parametrize(
    "tokens", [{"plain": [f"zq{i}" for i in range(20)]}, {"special": [f"<|{i}|>" for i in range(20)]}]
)
def test_tokens_without_a_row_are_refused_when_the_model_is_resolved(
    tmp_path: Path, tokens: dict[str, Any], decoder: bool
) -> None:
    folder = (tiny_text if decoder else tiny_training).model_folder(tmp_path / "model")
    resolve_model(folder)
    _add(folder, **tokens)
    most = 52 if decoder else 61
    says = f"the tokenizer has token ids up to {most}, the embedding table has 50 rows; resize the embeddings"
    with pytest.raises(ModelError, match=says):
        resolve_model(folder)


def test_a_padding_token_that_was_added_for_batches_needs_a_row(tmp_path: Path) -> None:
    folder = tiny_training.model_folder(tmp_path / "model", vocab_size=42)
    resolve_model(folder)
    _add(folder, pad="[NEW PAD]")
    with pytest.raises(ModelError, match="token ids up to 42, the embedding table has 42 rows"):
        resolve_model(folder)


def test_a_token_that_only_the_post_processor_adds_needs_a_row(tmp_path: Path) -> None:
    folder = tiny_training.model_folder(tmp_path / "model")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(single="$A [E]", special_tokens=[("[E]", 77)])
    tokenizer.save(str(folder / "tokenizer.json"))
    with pytest.raises(ModelError, match="token ids up to 77"):
        resolve_model(folder)


def test_a_table_with_more_rows_than_tokens_is_fine(tmp_path: Path) -> None:
    assert resolve_model(tiny_training.model_folder(tmp_path / "model", vocab_size=64)).sha256


def _bert(folder: Path, post: object = None, **settings: Any) -> Path:
    """A tiny BERT whose tokenizer is of transformers' own class for it, with settings."""
    tiny_encoder.hugging_face_checkpoint(folder, num_labels=2, vocab_size=60, type_vocab_size=settings.pop("types", 2))
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *tiny_training.WORDS, "W3", "W4"]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = post or processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tokenizer_class": "BertTokenizer"} | settings))
    return folder


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"do_lower_case": False},
        {"do_lower_case": True},
        {"model_input_names": ["input_ids", "attention_mask"]},
        {"tokenizer_class": "PreTrainedTokenizerFast"},
        {"padding_side": "left", "clean_up_tokenization_spaces": True, "model_max_length": int(1e30)},
    ],
)
def test_texts_and_pairs_are_read_as_transformers_reads_them(tmp_path: Path, settings: dict[str, Any]) -> None:
    folder = _bert(tmp_path / "model", **settings)
    ours = load_tokenizer(folder, "text-classification", types=2, pairs=True)
    theirs = AutoTokenizer.from_pretrained(folder)
    for first, second in zip(TEXTS, [None, *TEXTS], strict=False):
        encoding, expected = ours.tokenizer.encode(first, second), theirs(first, second)
        assert encoding.ids == expected["input_ids"]
        assert encoding.type_ids == expected.get("token_type_ids", [0] * len(encoding.ids))
    assert ours.most_tokens is None


@pytest.mark.parametrize(
    "post",
    [
        processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2)),
        processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
        ),
        processors.RobertaProcessing(("[SEP]", 3), ("[CLS]", 2)),
        processors.ByteLevel(),
        processors.Sequence([processors.ByteLevel(), processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))]),
    ],
)
def test_without_types_as_an_input_both_texts_have_the_type_0(tmp_path: Path, post: object) -> None:
    folder = _bert(tmp_path / "model", post, tokenizer_class="PreTrainedTokenizerFast")
    ours = load_tokenizer(folder, "text-classification", types=2, pairs=True).tokenizer.encode("w1 w2", "w3")
    theirs = AutoTokenizer.from_pretrained(folder)("w1 w2", "w3")
    assert "token_type_ids" not in theirs
    assert ours.ids == theirs["input_ids"]
    assert set(ours.type_ids) == {0}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"truncation_side": "left"}, "truncation_side is 'left'"),
        ({"split_special_tokens": True}, "split_special_tokens is true"),
        ({"pad_token": None}, "has no padding token"),
        ({"model_max_length": 2}, "model_max_length is 2; expected 4 tokens or more"),
        ({"model_max_length": -1}, "model_max_length is -1"),
        ({"types": 1}, "marks tokens with type 1, and config.json has type_vocab_size = 1"),
    ],
)
def test_what_is_not_supported_is_refused_with_the_key(tmp_path: Path, settings: dict[str, Any], says: str) -> None:
    folder = _bert(tmp_path / "model", **settings)
    with pytest.raises(ModelError, match=says):
        load_tokenizer(folder, "text-classification", types=settings.get("types", 2), pairs=True)


def test_one_token_type_is_enough_for_single_texts(tmp_path: Path) -> None:
    folder = _bert(tmp_path / "model", types=1)
    tokenizer = load_tokenizer(folder, "text-classification", types=1, pairs=False).tokenizer
    assert tokenizer.encode("w1").type_ids == [0, 0, 0]


@pytest.mark.parametrize(("limit", "expected"), [(12, 12), (900, 128), (int(1e30), 128)])
def test_the_tokenizers_own_limit_is_kept(tmp_path: Path, limit: int, expected: int) -> None:
    folder = _bert(tmp_path / "model", model_max_length=limit)
    assert (
        mlfs.build_supernet(resolve_model(folder), tiny_training.data(), tiny_training.RECIPE).info.max_tokens
        == expected
    )


def _sentences() -> TaskData:
    rows = [(text, None) for text, _ in tiny_training.rows()]
    rows = list(dict.fromkeys(rows))
    splits = {"train": rows, "validation": rows[:10], "test": rows[:10]}
    return TaskData.from_rows(splits, "rows", "sentence-embedding", Columns(label=None))


def test_settings_of_a_sentence_encoder_come_before_the_tokenizers(tmp_path: Path) -> None:
    folder = _bert(tmp_path / "model", model_max_length=100)
    note = folder / "sentence_bert_config.json"
    note.write_text(json.dumps({"max_seq_length": 20, "do_lower_case": False}))
    assert mlfs.build_supernet(resolve_model(folder), _sentences(), tiny_training.RECIPE).info.max_tokens == 20
    assert mlfs.build_supernet(resolve_model(folder), tiny_training.data(), tiny_training.RECIPE).info.max_tokens == 100
    note.write_text(json.dumps({"do_lower_case": True}))
    path = folder / "tokenizer_config.json"
    for lower_case in (True, False):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"do_lower_case": lower_case}))
        source = resolve_model(folder)
        if lower_case:
            assert mlfs.build_supernet(source, _sentences(), tiny_training.RECIPE).info.max_tokens == 100
    with pytest.raises(ModelError, match=r"do_lower_case of sentence-transformers' settings is true"):
        mlfs.build_supernet(source, _sentences(), tiny_training.RECIPE)
