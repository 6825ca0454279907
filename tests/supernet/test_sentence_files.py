"""What sentence-transformers writes beside a model, key by key: done as it does, or refused with the key."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import tiny_encoder
import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from tiny_training import model_folder

from edgedistill.data.batches import encode, make_batch
from edgedistill.data.dataset import Split
from edgedistill.distillation.encoder_tokenizer import load_tokenizer
from edgedistill.errors import ModelError
from edgedistill.supernet.pretrained import embedding_width, load_pretrained
from edgedistill.supernet.sentence_files import pooling_of, read_sentence_settings

TEXTS = ("w1 w2 w3", "w4", "w5 w6 w7 w8 w9 w10 w11", "w2 w2 w3 unknown")
SETTINGS, NOTE = "config_sentence_transformers.json", "sentence_bert_config.json"


def _written(folder: Path, *, mode: str = "mean", dense: tuple[int, ...] = (), normalize: bool = True) -> Path:
    """A sentence encoder as sentence-transformers writes it, with linear modules of those widths."""
    torch.manual_seed(0)
    transformer = Transformer(str(model_folder(folder / "base", head="")))
    modules: list[Any] = [transformer, Pooling(24, mode)]
    for inputs, outputs in zip((24, *dense), dense, strict=False):
        modules.append(Dense(inputs, outputs, activation_function=torch.nn.Identity()))
    SentenceTransformer(modules=[*modules, *([Normalize()] if normalize else [])]).save(str(folder / "encoder"))
    return folder / "encoder"


def _change(path: Path, **settings: Any) -> None:
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | settings))


def _cosines(vectors: torch.Tensor) -> torch.Tensor:
    unit = torch.nn.functional.normalize(vectors, dim=-1)
    return unit @ unit.T


@pytest.mark.parametrize(
    ("mode", "dense", "normalize", "truncate"),
    [
        ("mean", (), True, None),
        ("cls", (), False, None),
        ("mean", (10,), True, None),
        ("mean", (30, 12), False, None),
        ("cls", (30,), True, 7),
        ("mean", (), True, 9),
    ],
)
@torch.no_grad()
def test_vectors_are_those_of_sentence_transformers(
    tmp_path: Path, mode: str, dense: tuple[int, ...], normalize: bool, truncate: int | None
) -> None:
    folder = _written(tmp_path, mode=mode, dense=dense, normalize=normalize)
    _change(folder / SETTINGS, truncate_dim=truncate)
    expected = torch.tensor(SentenceTransformer(str(folder)).encode(list(TEXTS)))
    width = embedding_width(folder, "sentence-embedding")
    assert width == expected.shape[1]
    model = load_pretrained(folder, "sentence-embedding", width, scale=1.0, dropout=0.0)
    tokenizer = load_tokenizer(folder, "sentence-embedding", types=2, pairs=False).tokenizer
    batch = make_batch(encode(tokenizer, Split(TEXTS, None), "sentence-embedding", max_tokens=64, pad=0), range(4))
    vectors = model(batch.input_ids, batch.attention_mask, batch.token_type_ids, model.arch.full).logits
    torch.testing.assert_close(vectors, torch.nn.functional.normalize(expected, dim=-1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(_cosines(vectors), _cosines(expected), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("file", "settings", "says"),
    [
        (
            SETTINGS,
            {"default_prompt_name": "query", "prompts": {"query": "query: "}},
            "default_prompt_name puts 'query",
        ),
        (SETTINGS, {"truncate_dim": 99}, "truncate_dim is 99; expected 1 to 10"),
        (SETTINGS, {"model_type": "SparseEncoder"}, "model_type is 'SparseEncoder'"),
        (SETTINGS, {"prompts": ["query: "]}, "prompts is"),
        (NOTE, {"max_seq_length": "long"}, "max_seq_length is 'long'"),
        (NOTE, {"transformer_task": "fill-mask"}, "transformer_task is 'fill-mask'"),
        ("2_Dense/config.json", {"activation_function": "torch.nn.modules.activation.Tanh"}, "activation_function is"),
        ("2_Dense/config.json", {"use_residual": True}, "use_residual is true"),
        ("2_Dense/config.json", {"module_input_name": "token_embeddings"}, "module_input_name is 'token_embeddings'"),
    ],
)
def test_what_is_not_done_is_refused_with_the_file_and_the_key(
    tmp_path: Path, file: str, settings: dict[str, Any], says: str
) -> None:
    folder = _written(tmp_path, dense=(10,))
    _change(folder / file, **settings)
    with pytest.raises(ModelError, match=f"{file}.*{says}"):
        read_sentence_settings(folder, 24)


@pytest.mark.parametrize("mode", ["max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken", ["cls", "mean"]])
def test_another_pooling_is_refused(tmp_path: Path, mode: str | list[str]) -> None:
    folder = tiny_encoder.hugging_face_checkpoint(tmp_path, head="")
    (folder / "1_Pooling").mkdir()
    _change(folder / "1_Pooling" / "config.json", pooling_mode=mode)
    with pytest.raises(ModelError, match=r"1_Pooling/config\.json: pooling_mode is .*; supported are mean and cls"):
        pooling_of(folder)


def test_a_pooling_note_without_a_mode_means_the_mean(tmp_path: Path) -> None:
    folder = tiny_encoder.hugging_face_checkpoint(tmp_path, head="")
    (folder / "1_Pooling").mkdir()
    _change(folder / "1_Pooling" / "config.json", word_embedding_dimension=24)
    assert pooling_of(folder) == "mean"
    _change(folder / "1_Pooling" / "config.json", pooling_mode=["cls"])
    assert pooling_of(folder) == "first"


@pytest.mark.parametrize("similarity", ["dot", "euclidean", "manhattan"])
def test_a_similarity_that_needs_lengths_is_refused_where_vectors_have_some(tmp_path: Path, similarity: str) -> None:
    folder = _written(tmp_path, normalize=False)
    _change(folder / SETTINGS, similarity_fn_name=similarity)
    with pytest.raises(ModelError, match=f"similarity_fn_name is '{similarity}' for vectors of any length"):
        read_sentence_settings(folder, 24)


def _modules(*kinds: str, path: str = "") -> list[dict[str, str]]:
    return [{"type": f"sentence_transformers.models.{kind}", "path": path} for kind in kinds]


@pytest.mark.parametrize(
    ("modules", "says"),
    [
        (_modules("Transformer", "Pooling", "LSTM"), "has a module LSTM"),
        (_modules("Transformer", "Pooling", "Normalize", "Dense"), "supported is the order"),
        (_modules("Transformer", path="0_Transformer"), "the Transformer is in '0_Transformer'"),
        (_modules("Transformer", path="../elsewhere"), r"a module in '\.\./elsewhere'"),
        ([{"type": "evil.Pooling", "path": ""}], "type 'evil.Pooling', which is code of the checkpoint"),
        ({"no": "list"}, "cannot be read"),
    ],
)
def test_other_modules_are_refused(tmp_path: Path, modules: object, says: str) -> None:
    folder = tiny_encoder.hugging_face_checkpoint(tmp_path, head="")
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelError, match=f"modules.json.*{says}"):
        read_sentence_settings(folder, 24)


def test_prompts_for_the_caller_are_said_to_be_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = _written(tmp_path)
    _change(folder / SETTINGS, prompts={"query": "query: ", "document": ""}, default_prompt_name="document")
    with caplog.at_level(logging.WARNING):
        read_sentence_settings(folder, 24)
    assert "a palette adds no prompts (query 'query: ')" in caplog.text


def test_a_projection_that_does_not_fit_or_is_not_finite_is_refused(tmp_path: Path) -> None:
    folder = _written(tmp_path, dense=(10,))
    weights, bias = folder / "2_Dense" / "model.safetensors", torch.zeros(10)
    for weight, says in (
        (torch.full((10, 24), torch.nan), "not finite"),
        (torch.zeros(10, 20), "20 inputs; the states have 24"),
        (torch.zeros(9, 24), "do not fit"),
    ):
        save_file({"linear.weight": weight, "linear.bias": bias}, weights)
        with pytest.raises(ModelError, match=says):
            read_sentence_settings(folder, 24)
    weights.unlink()
    with pytest.raises(ModelError, match="cannot be read as the weights of a Dense module"):
        read_sentence_settings(folder, 24)
