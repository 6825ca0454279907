"""What `extract` writes answers as the palette does when it is used as people use it: by transformers' pipelines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tiny_decoder
import tiny_encoder
import tiny_training
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerFast, pipeline

from edgedistill.data.dataset import Columns, TaskData
from edgedistill.data.rows import Row
from edgedistill.distillation import mlfs
from edgedistill.distillation.models import resolve_model
from edgedistill.exporters import write_palette
from edgedistill.exporters.hugging_face import write_hugging_face
from edgedistill.exporters.standalone import write_onnx
from edgedistill.runtime import (
    AdaptiveSession,
    SentenceEncoder,
    TextClassifier,
    TextGenerator,
    TextRegressor,
    TokenClassifier,
)
from edgedistill.runtime.text.tokenization import TextTokenizer
from edgedistill.supernet.checkpoint import Supernet
from edgedistill.supernet.vocabulary import trimmed
from edgedistill.tasks import TaskName

WORDS = [f"w{i}" for i in range(30)]
LABELS = ("no", "maybe", "Yes!")
RECIPE = tiny_training.RECIPE.model_copy(update={"max_tokens": 12})
SINGLE = ["w1 w2 w3", "W4", "w5 nothing W6 w7", " ".join(WORDS)]
PAIRS = [("w1 w2", "w3"), ("W4 w5", "w6 unknown"), (" ".join(WORDS), "w8 w9")]
CLASSES = {"bert": "BertTokenizer", "roberta": "RobertaTokenizer", "distilbert": "BertTokenizer"}


def _word_piece() -> Tokenizer:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _byte_level(specials: Sequence[str]) -> Tokenizer:
    letters = [*specials, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    ids = {token: i for i, token in enumerate([*letters, "Ġw"])}
    tokenizer = Tokenizer(models.BPE(ids, [("Ġ", "w")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _encoder_folder(folder: Path, model_type: str, head: str, **changes: Any) -> Path:
    """A tiny checkpoint with the tokenizer class of its family."""
    tiny_encoder.hugging_face_checkpoint(
        folder, model_type=model_type, head=head, vocab_size=300, num_labels=3, initializer_range=0.5, **changes
    )
    if model_type == "roberta":
        tokenizer = _byte_level(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
        tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
        names = dict(
            zip(("bos", "pad", "eos", "unk", "mask"), ("<s>", "<pad>", "</s>", "<unk>", "<mask>"), strict=True)
        )
        names |= {"cls": "<s>", "sep": "</s>"}
    else:
        tokenizer = _word_piece()
        names = {name: f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    tokens = {f"{name}_token": token for name, token in names.items()}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=12, **tokens).save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tokenizer_class": CLASSES[model_type]}))
    return folder


def _labelled(task: TaskName, *, pairs: bool) -> TaskData:
    texts: list[Any] = [
        ((f"w{i % 30} w{i % 7}", f"w{i % 11}") if pairs else f"w{i % 30} w{i % 7} w{i % 11}") for i in range(40)
    ]
    if task == "token-classification":
        rows: list[Row] = [(tuple(text.split()), tuple(LABELS[i % 3] for i in range(3))) for text in texts]
    elif task == "sentence-embedding":
        rows = [((text, f"w{i % 13}"), float(i % 5)) for i, text in enumerate(texts)]
    else:
        rows = [(text, float(i % 5) if task == "text-regression" else LABELS[i % 3]) for i, text in enumerate(texts)]
    vectors = task == "sentence-embedding"
    columns = Columns(("a", "b") if pairs or vectors else ("text",))
    train = [(text, None) for text in dict.fromkeys(texts)] if vectors else rows
    splits = {"train": train, "validation": rows[:10], "test": rows[:10]}
    names = LABELS if task.endswith("classification") else None
    return TaskData.from_rows(splits, "rows", task, columns, names)


def _supernet(folder: Path, model_type: str, task: TaskName, *, pairs: bool = False) -> tuple[Supernet, TaskData]:
    head = {"token-classification": "TokenClassification", "sentence-embedding": ""}.get(task, "SequenceClassification")
    source = resolve_model(_encoder_folder(folder / "model", model_type, head))
    data = _labelled(task, pairs=pairs)
    return mlfs.build_supernet(source, data, RECIPE), data


def _written(supernet: Supernet, data: TaskData, folder: Path) -> tuple[Path, Path]:
    """A palette of the whole model alone, and what `extract` writes of it."""
    encoded = mlfs.encode_data(supernet, data)
    write_palette(supernet, [supernet.space.maxnet], encoded, folder / "palette", lambda _: None)
    write_hugging_face(supernet, supernet.space.maxnet, folder / "extracted")
    return folder / "palette", folder / "extracted"


def _temperature(session: AdaptiveSession) -> float:
    calibration = session.palette.manifest.subnets[0].calibration
    return 1.0 if calibration is None else calibration.temperature


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("model_type", CLASSES)
def test_a_classifier_in_transformers_pipeline(tmp_path: Path, model_type: str, pairs: bool) -> None:
    palette, extracted = _written(*_supernet(tmp_path, model_type, "text-classification", pairs=pairs), tmp_path)
    classify = pipeline("text-classification", model=str(extracted), top_k=None)
    texts: list[Any] = PAIRS if pairs else SINGLE
    with TextClassifier(AdaptiveSession(palette)) as classifier:
        answers = classifier.classify(texts)
        temperature = _temperature(classifier.session)
    for text, answer in zip(texts, answers, strict=True):
        given = {"text": text[0], "text_pair": text[1]} if pairs else text
        scores = classify([given], truncation=True)[0]
        assert scores[0]["label"] == answer.label
        softened = np.array([entry["score"] for entry in scores]) ** (1 / temperature)
        assert softened[0] / softened.sum() == pytest.approx(answer.score, abs=1e-4)
    tokenizer = AutoTokenizer.from_pretrained(extracted)
    assert type(tokenizer).__name__ == CLASSES[model_type]
    assert tokenizer.model_max_length == 12
    original = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert tokenizer.special_tokens_map == original.special_tokens_map
    assert tokenizer.model_input_names == original.model_input_names
    config = AutoModelForSequenceClassification.from_pretrained(extracted).config
    assert (config.problem_type, config.num_labels) == ("single_label_classification", 3)
    assert config.label2id == {label: i for i, label in enumerate(LABELS)}


@pytest.mark.slow
@pytest.mark.parametrize("model_type", CLASSES)
def test_a_regression_in_transformers_pipeline(tmp_path: Path, model_type: str) -> None:
    palette, extracted = _written(*_supernet(tmp_path, model_type, "text-regression"), tmp_path)
    rate = pipeline("text-classification", model=str(extracted))
    with TextRegressor(AdaptiveSession(palette)) as regressor:
        answers = [answer.value for answer in regressor.predict(SINGLE)]
    assert [rate(text, truncation=True)[0]["score"] for text in SINGLE] == pytest.approx(answers, abs=1e-4)


@pytest.mark.parametrize("model_type", CLASSES)
def test_a_tagger_in_transformers_pipeline(tmp_path: Path, model_type: str) -> None:
    palette, extracted = _written(*_supernet(tmp_path, model_type, "token-classification"), tmp_path)
    tag = pipeline("token-classification", model=str(extracted), ignore_labels=[])
    texts = ["w1 w2 w3", "w4", "w5 w6 w29"]
    with TokenClassifier(AdaptiveSession(palette)) as tagger:
        answers = tagger.tag([text.split() for text in texts])
    for text, answer in zip(texts, answers, strict=True):
        by_place: dict[int, str] = {}
        for token in tag(text):
            by_place.setdefault(token["start"], token["entity"])
        assert len(answer.words) == len(text.split())
        for word in answer.words:
            assert by_place[word.start] == word.tag


@pytest.mark.slow
@pytest.mark.parametrize("model_type", CLASSES)
def test_a_sentence_encoder_in_sentence_transformers(tmp_path: Path, model_type: str) -> None:
    palette, extracted = _written(*_supernet(tmp_path, model_type, "sentence-embedding"), tmp_path)
    with SentenceEncoder(AdaptiveSession(palette)) as encoder:
        answers = encoder.encode(SINGLE).vectors
    vectors = SentenceTransformer(str(extracted)).encode(SINGLE)
    np.testing.assert_allclose(vectors, answers, atol=1e-5)


@pytest.mark.parametrize("hidden", [24, 16])
def test_the_layer_behind_the_pooling_is_a_dense_module(tmp_path: Path, hidden: int) -> None:
    """A trained one, and one that is cut with the hidden width."""
    supernet, data = _supernet(tmp_path, "bert", "sentence-embedding")
    torch.manual_seed(0)
    supernet.model.classifier.weight.data += 0.3 * torch.randn(24, 24)
    supernet.model.classifier.bias.data += 0.3
    subnet = supernet.model.arch.full
    if hidden == 16:
        subnet = type(subnet).uniform((0, 2), hidden=16, heads=2, ffn=20)
    write_hugging_face(supernet, subnet, tmp_path / "out")
    encoded = mlfs.encode_data(supernet, data).test
    texts = [text for pair in data.test.texts for text in pair]
    vectors = SentenceTransformer(str(tmp_path / "out")).encode([str(text) for text in texts])
    for row, vector in enumerate(vectors):
        ids, types = torch.tensor([encoded.ids[row]]), torch.tensor([encoded.type_ids[row]])
        expected = supernet.model(ids, torch.ones_like(ids), types, subnet).logits.detach()
        np.testing.assert_allclose(vector, expected[0].numpy(), atol=1e-5)


@pytest.mark.parametrize("model_type", CLASSES)
def test_with_a_trimmed_vocabulary(tmp_path: Path, model_type: str) -> None:
    supernet, data = _supernet(tmp_path, model_type, "text-classification", pairs=True)
    encoded = mlfs.encode_data(supernet, data).test
    small = trimmed(supernet, {row for ids in encoded.ids for row in ids})
    assert small.model.arch.vocabulary < supernet.model.arch.vocabulary
    write_hugging_face(small, small.space.maxnet, tmp_path / "out")
    classify = pipeline("text-classification", model=str(tmp_path / "out"), top_k=None)
    for row, (first, second) in enumerate(data.test.texts):
        ids, types = torch.tensor([encoded.ids[row]]), torch.tensor([encoded.type_ids[row]])
        logits = supernet.model(ids, torch.ones_like(ids), types, supernet.space.maxnet).logits.detach()
        scores = {entry["label"]: entry["score"] for entry in classify([{"text": first, "text_pair": second}])[0]}
        assert [scores[label] for label in LABELS] == pytest.approx(logits.softmax(-1)[0].tolist(), abs=1e-4)


@pytest.mark.parametrize("model_type", CLASSES)
def test_one_onnx_file_answers_as_the_palettes_member(tmp_path: Path, model_type: str) -> None:
    supernet, data = _supernet(tmp_path, model_type, "text-classification", pairs=True)
    palette, _ = _written(supernet, data, tmp_path)
    write_onnx(supernet, supernet.space.maxnet, tmp_path / "one.onnx")
    alone = onnxruntime.InferenceSession(tmp_path / "one.onnx", providers=["CPUExecutionProvider"])
    with AdaptiveSession(palette) as session:
        assert [node.name for node in session.get_inputs()] == [node.name for node in alone.get_inputs()]
        reader = TextTokenizer(session.palette)
        feeds = reader.feeds([reader.read(pair, place) for place, pair in enumerate(PAIRS)])
        expected = session.run(None, feeds)
        np.testing.assert_allclose(alone.run(None, feeds)[0], expected[0], atol=1e-5)


DECODERS = ("llama", "mistral", "qwen2", "qwen3", "gpt2", "gpt_bigcode")


def _decoder_folder(folder: Path, name: str) -> Path:
    """A tiny decoder with a byte-level tokenizer that begins texts, a chat template and a note on generation."""
    tiny_decoder.checkpoint(folder, name, vocab_size=300, eos_token_id=2)
    tokenizer = _byte_level(["<unk>", "<s>", "</s>", "<|end|>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)]
    )
    tokenizer.add_special_tokens(["<|end|>"])
    wrapper = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", padding_side="left"
    )
    wrapper.chat_template = "{{ bos_token }}{% for m in messages %}{{ m.content }}<|end|>{% endfor %}"
    wrapper.save_pretrained(folder)
    note = {"eos_token_id": [2, 3], "bos_token_id": 1, "do_sample": False, "max_new_tokens": 6}
    (folder / "generation_config.json").write_text(json.dumps(note))
    return folder


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_in_transformers_pipeline(tmp_path: Path, name: str) -> None:
    source = resolve_model(_decoder_folder(tmp_path / "model", name))
    rows: list[Row] = [(" ".join(WORDS * 20), None)]
    data = TaskData.from_rows(dict.fromkeys(("train", "validation", "test"), rows), "texts", "text-generation")
    recipe = RECIPE.model_copy(update={"head_shares": (1.0,), "depth_shares": (1.0,), "max_tokens": 16})
    palette, extracted = _written(mlfs.build_supernet(source, data, recipe), data, tmp_path)
    write = pipeline("text-generation", model=str(extracted))
    with TextGenerator(palette) as generator:
        for prompt in ("w1 w2", "w7"):
            expected = generator.generate(prompt, max_new_tokens=6).text
            actual = write(prompt, return_full_text=False)[0]["generated_text"]
            assert actual.rstrip("\ufffd") == expected  # a palette shows no half of a character
            assert expected
    tokenizer, original = (AutoTokenizer.from_pretrained(folder) for folder in (extracted, tmp_path / "model"))
    assert tokenizer.special_tokens_map == original.special_tokens_map
    assert tokenizer.padding_side == "left"
    chat = [{"role": "user", "content": "w1"}]
    assert tokenizer.apply_chat_template(chat, tokenize=False) == original.apply_chat_template(chat, tokenize=False)
    note = json.loads((extracted / "generation_config.json").read_text())
    expected_note = {"eos_token_id": [2, 3], "bos_token_id": 1, "do_sample": False, "max_new_tokens": 6}
    pad = {} if original.pad_token is None else {"pad_token_id": original.pad_token_id}  # Qwen2's class has one
    assert note == expected_note | pad
