"""Every family with every head: full size is transformers' model, and every subnet a plain model of slices."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import plain_encoder
import pytest
import tiny_encoder
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoConfig

from edgedistill.architecture import SearchSpace, Subnet
from edgedistill.errors import ModelError
from edgedistill.supernet.families import Head, family_of
from edgedistill.supernet.model import ElasticTransformer
from edgedistill.supernet.pretrained import has_head, load_hugging_face, load_pretrained, teacher_labels
from edgedistill.supernet.sentence_files import pooling_of
from edgedistill.supernet.slicing import extents, full_tensors, slice_tensors
from edgedistill.tasks import TaskName

FAMILIES = ("bert", "roberta", "distilbert", "electra")
HEADS: dict[TaskName, Head | None] = {
    "text-classification": "SequenceClassification",
    "token-classification": "TokenClassification",
    "sentence-embedding": None,
}
SPACE = SearchSpace(layers=((0, 1, 2, 3), (0, 2)), hidden=(24, 16, 8), heads=(3, 2, 1), ffn=(40, 10))
PAD = 1


def _outputs(task: TaskName) -> int:
    return 24 if task == "sentence-embedding" else 5


def _checkpoint(folder: Path, model_type: str, task: TaskName) -> Path:
    return tiny_encoder.hugging_face_checkpoint(folder, model_type=model_type, head=HEADS[task] or "")


def _load(folder: Path, model_type: str, task: TaskName) -> ElasticTransformer:
    return load_pretrained(_checkpoint(folder, model_type, task), task, _outputs(task), scale=1.0, dropout=0.1)


def _texts() -> tuple[Tensor, Tensor, Tensor]:
    """Padding everywhere has the padding token, and no text holds it: RoBERTa counts positions by it."""
    ids, mask, types = tiny_encoder.inputs(5, 19)
    return ids.clamp(min=PAD + 1).where(mask.bool(), PAD), mask, types


def _run(reference: Any, task: TaskName, *, classifier: Tensor | None = None) -> Tensor:
    """Transformers' answers to the texts; for embeddings mean-pooled, mapped and of unit length."""
    ids, mask, types = _texts()
    type_ids = {"token_type_ids": types} if reference.config.model_type in {"bert", "electra"} else {}
    output = reference(input_ids=ids, attention_mask=mask, **type_ids)
    if task != "sentence-embedding":
        return output.logits  # type: ignore[no-any-return]
    states = output.last_hidden_state
    mean = torch.stack([s[m.bool()].mean(0) for s, m in zip(states, mask, strict=True)])
    return F.normalize(mean if classifier is None else mean @ classifier.T, dim=-1)


def _assert_same(actual: Tensor, expected: Tensor) -> None:
    """Where each token is answered, the padding's answers do not matter."""
    kept = _texts()[1].bool() if actual.ndim == 3 else slice(None)
    torch.testing.assert_close(actual[kept], expected[kept], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("task", HEADS)
@pytest.mark.parametrize("model_type", [*FAMILIES, "xlm-roberta", "camembert"])
@torch.no_grad()
def test_the_maxnet_computes_what_transformers_model_does(tmp_path: Path, model_type: str, task: TaskName) -> None:
    model = _load(tmp_path, model_type, task)
    reference = load_hugging_face(tmp_path, task, _outputs(task))
    _assert_same(model(*_texts(), model.arch.full).logits, _run(reference, task))


@pytest.mark.parametrize("task", HEADS)
@pytest.mark.parametrize("model_type", FAMILIES)
@torch.no_grad()
def test_every_subnet_is_a_plain_encoder_of_the_sliced_weights(tmp_path: Path, model_type: str, task: TaskName) -> None:
    model = _load(tmp_path, model_type, task)
    tensors, rng = full_tensors(model), random.Random(0)
    for subnet in [*SPACE, *(tiny_encoder.random_subnet(rng) for _ in range(10))]:
        sliced = slice_tensors(tensors, extents(model.arch, subnet))
        expected = plain_encoder.run(sliced, model.arch, subnet, *_texts())
        _assert_same(model(*_texts(), subnet).logits, expected)


@pytest.mark.parametrize("task", HEADS)
@pytest.mark.parametrize("model_type", FAMILIES)
@torch.no_grad()
def test_a_subnet_that_transformers_can_express_is_its_model(tmp_path: Path, model_type: str, task: TaskName) -> None:
    """That takes whole heads over all of the hidden width."""
    model = _load(tmp_path, model_type, task)
    expressible = [s for s in SPACE if s.layers[0].heads * model.arch.head_size == s.hidden]
    assert len(expressible) == 12
    for subnet in expressible:
        reference = _as_transformers(model, subnet, tmp_path, task)
        mapping = model.classifier.weight[:, : subnet.hidden]
        _assert_same(model(*_texts(), subnet).logits, _run(reference, task, classifier=mapping))


def _as_transformers(model: ElasticTransformer, subnet: Subnet, folder: Path, task: TaskName) -> Any:
    """A plain model of the family with the subnet's dimensions, loaded with the sliced weights."""
    family, first = family_of(model.arch.model_type), subnet.layers[0]
    config = AutoConfig.from_pretrained(folder, num_labels=_outputs(task))
    sizes = {"hidden_size": subnet.hidden, "num_attention_heads": first.heads, family.ffn: first.ffn}
    for key, value in {**sizes, "num_hidden_layers": len(subnet.layers)}.items():
        setattr(config, key, value)
    reference = type(load_hugging_face(folder, task, _outputs(task)))(config).eval()
    arch = replace(model.arch, layers=len(subnet.layers), hidden=subnet.hidden, heads=first.heads, ffn=first.ffn)
    sliced = slice_tensors(full_tensors(model), extents(model.arch, subnet))
    for place, layer in enumerate(subnet.layers):
        moved = {n: t for n, t in sliced.items() if n.startswith(f"layers.{layer.index}.")}
        sliced |= {n.replace(f"layers.{layer.index}.", f"layers.{place}."): t for n, t in moved.items()}
    names = family.names(arch, HEADS[task])
    state = {theirs: sliced[ours] for ours, theirs in names.items()}
    if family.prefix == "roberta":
        state["roberta.embeddings.position_embeddings.weight"] = F.pad(
            state["roberta.embeddings.position_embeddings.weight"], (0, 0, PAD + 1, 0)
        )
        state["roberta.embeddings.token_type_embeddings.weight"] = torch.zeros(1, subnet.hidden)
    if HEADS[task] is None:
        state = {name.removeprefix(f"{family.prefix}."): tensor for name, tensor in state.items()}
    missing, unexpected = reference.load_state_dict(state, strict=False)
    assert not unexpected
    assert all("pooler" in name for name in missing)  # which the answers do not read
    return reference


def test_pooling_is_as_sentence_transformers_notes_it(tmp_path: Path) -> None:
    folder = _checkpoint(tmp_path, "bert", "sentence-embedding")
    _note(folder, {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False})
    model = load_pretrained(folder, "sentence-embedding", 24, scale=1.0, dropout=0.0)
    reference = load_hugging_face(folder, "sentence-embedding", 24)
    ids, mask, types = _texts()
    with torch.no_grad():
        states = reference(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state
        _assert_same(model(*_texts(), model.arch.full).logits, F.normalize(states[:, 0], dim=-1))


def test_a_classifier_of_a_mean_pooled_encoder_reads_the_mean(tmp_path: Path) -> None:
    folder = _checkpoint(tmp_path, "bert", "sentence-embedding")
    _note(folder, {"pooling_mode": "mean"})
    model = load_pretrained(folder, "text-classification", 5, scale=1.0, dropout=0.0)
    assert (model.arch.pooling, model.arch.dense, model.arch.normalise) == ("mean", None, False)
    ids, mask, types = _texts()
    with torch.no_grad():
        states = model(ids, mask, types, model.arch.full).hidden[-1]
        mean = torch.stack([s[m.bool()].mean(0) for s, m in zip(states, mask, strict=True)])
        _assert_same(model(ids, mask, types, model.arch.full).logits, model.classifier(mean))
    assert model.classifier.weight.std() > 0.01
    assert not has_head(folder, "text-classification", 5)


def _note(folder: Path, settings: dict[str, object]) -> None:
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))


@pytest.mark.parametrize("note", ["{", '{"pooling_mode_max_tokens": true}', "[]", '{"pooling_mode": ["cls", "mean"]}'])
def test_another_way_of_pooling_is_refused(tmp_path: Path, note: str) -> None:
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(note)
    with pytest.raises(ModelError, match="pooling"):
        pooling_of(tmp_path)


@pytest.mark.parametrize("task", ["text-classification", "token-classification"])
@pytest.mark.parametrize("model_type", FAMILIES)
def test_a_checkpoint_brings_its_own_head_where_it_fits(tmp_path: Path, model_type: str, task: TaskName) -> None:
    names = {i: f"name {i}" for i in range(5)}
    folder = tiny_encoder.hugging_face_checkpoint(
        tmp_path, model_type=model_type, head=HEADS[task] or "", id2label=names
    )
    assert teacher_labels(folder, task, "it") == list(names.values())
    assert has_head(folder, task, 5)
    assert not has_head(folder, task, 3)
    stored = load_hugging_face(folder, task, 5).state_dict()
    name = family_of(model_type).heads[HEADS[task]]["classifier"]  # type: ignore[index]
    assert torch.equal(
        load_pretrained(folder, task, 5, scale=1.0, dropout=0.0).classifier.weight, stored[f"{name}.weight"]
    )
    assert load_pretrained(folder, task, 3, scale=1.0, dropout=0.0).classifier.weight.shape == (3, 24)


def test_the_head_of_another_task_is_no_head_for_this_one(tmp_path: Path) -> None:
    folder = _checkpoint(tmp_path, "bert", "text-classification")
    assert not has_head(folder, "token-classification", 5)
    torch.manual_seed(0)
    model = load_pretrained(folder, "token-classification", 5, scale=1.0, dropout=0.0)
    assert float(model.classifier.weight.std()) < 0.05  # drawn anew; the stored one's is 0.2


def test_a_plain_encoder_has_no_head(tmp_path: Path) -> None:
    folder = _checkpoint(tmp_path, "bert", "sentence-embedding")
    with pytest.raises(ModelError, match=r"it has no text-classification head \(it holds no head\)"):
        teacher_labels(folder, "text-classification", "it")
    assert not has_head(folder, "text-classification", 2)
    assert has_head(folder, "sentence-embedding", 24)


def test_a_checkpoint_without_part_of_its_encoder_is_refused(tmp_path: Path) -> None:
    folder = _checkpoint(tmp_path, "bert", "text-classification")
    path = folder / "model.safetensors"
    tensors = load_file(path)
    del tensors["bert.encoder.layer.2.output.dense.weight"]
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(ModelError, match=r"no fitting tensor 'bert.encoder.layer.2.output.dense.weight'"):
        load_pretrained(folder, "text-classification", 5, scale=1.0, dropout=0.0)


def test_embeddings_of_another_dimension_are_refused(tmp_path: Path) -> None:
    folder = _checkpoint(tmp_path, "bert", "sentence-embedding")
    with pytest.raises(ModelError, match="vectors of 24 numbers; 32 were requested"):
        load_pretrained(folder, "sentence-embedding", 32, scale=1.0, dropout=0.0)


@pytest.mark.parametrize(
    ("model_type", "changes", "says"),
    [
        ("bert", {"hidden_act": "relu"}, "hidden_act"),
        ("bert", {"is_decoder": True}, "is_decoder"),
        ("roberta", {"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ("distilbert", {"activation": "relu"}, "activation"),
        ("bert", {"hidden_act": "gelu_new"}, "hidden_act"),
        ("bert", {"position_embedding_type": "relative_key_query"}, "position_embedding_type"),
        ("xlm-roberta", {"is_decoder": True}, "is_decoder"),
    ],
)
def test_a_variant_that_is_not_computed_is_refused(
    tmp_path: Path, model_type: str, changes: dict[str, object], says: str
) -> None:
    folder = tiny_encoder.hugging_face_checkpoint(tmp_path, model_type=model_type, **changes)
    with pytest.raises(ModelError, match=says):
        load_pretrained(folder, "text-classification", 5, scale=1.0, dropout=0.0)


def test_an_unsupported_type_is_refused_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    types = "bert, camembert, distilbert, electra, roberta, xlm-roberta"
    with pytest.raises(ModelError, match=rf"gpt2.*not supported.*{types}"):
        load_pretrained(tmp_path, "text-classification", 5, scale=1.0, dropout=0.0)


@torch.no_grad()
def test_an_electra_with_tables_as_wide_as_its_states_has_no_projection(tmp_path: Path) -> None:
    folder = tiny_encoder.hugging_face_checkpoint(tmp_path, model_type="electra", embedding_size=24)
    model = load_pretrained(folder, "text-classification", 5, scale=1.0, dropout=0.0)
    assert model.projection is None
    reference = load_hugging_face(folder, "text-classification", 5)
    _assert_same(model(*_texts(), model.arch.full).logits, _run(reference, "text-classification"))
