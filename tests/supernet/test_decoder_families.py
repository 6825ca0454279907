"""Every family of decoders: full size is transformers' model, and a subnet one of transformers' with its slices."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import plain_decoder
import pytest
import tiny_decoder
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from edgedistill.architecture import LayerShape, SearchSpace, Subnet
from edgedistill.errors import ExportError, ModelError
from edgedistill.supernet.families import family_of
from edgedistill.supernet.model import ElasticTransformer
from edgedistill.supernet.pretrained_decoder import load_causal_hugging_face, load_pretrained_decoder, to_hugging_face
from edgedistill.supernet.slicing import extents, full_tensors, slice_tensors

CHECKPOINTS = tiny_decoder.CHECKPOINTS
SPACE = SearchSpace(layers=((0, 1, 2), (0, 2)), hidden=(32, 16), heads=(4, 2), ffn=(40, 10))
IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None}


def _load(folder: Path, name: str) -> ElasticTransformer:
    return load_pretrained_decoder(tiny_decoder.checkpoint(folder, name), scale=1.0, dropout=0.1)


def _assert_same(model: ElasticTransformer, subnet: Subnet, reference: Any, ids: Tensor, mask: Tensor) -> None:
    kept = mask.bool()
    expected = reference(input_ids=ids, attention_mask=mask).logits
    torch.testing.assert_close(model.logits(ids, mask, subnet)[kept], expected[kept], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", CHECKPOINTS)
@torch.no_grad()
def test_the_maxnet_computes_what_transformers_model_does(tmp_path: Path, name: str) -> None:
    model = _load(tmp_path, name)
    reference = load_causal_hugging_face(tmp_path)
    assert model.arch.total_parameters(model.arch.full) == sum(p.numel() for p in reference.parameters())
    for batch, length, side in (
        (1, 1, "right"),
        (1, tiny_decoder.POSITIONS, "right"),
        (5, 19, "right"),
        (4, 12, "left"),
    ):
        _assert_same(model, model.arch.full, reference, *tiny_decoder.inputs(batch, length, side=side))


@pytest.mark.parametrize("name", CHECKPOINTS)
@torch.no_grad()
def test_every_subnet_that_transformers_can_express_is_its_model(tmp_path: Path, name: str) -> None:
    """For GPT-2's kin that takes whole heads over all of the hidden width."""
    model = _load(tmp_path, name)
    gpt = model.arch.model_type.startswith("gpt")
    expressible = [s for s in SPACE if not gpt or s.layers[0].heads * model.arch.head_size == s.hidden]
    assert len(expressible) == (8 if gpt else 16)
    for subnet in expressible:
        _assert_same(model, subnet, to_hugging_face(model, subnet, IDS), *tiny_decoder.inputs(3, 11))


@pytest.mark.parametrize("name", CHECKPOINTS)
@torch.no_grad()
def test_every_subnet_is_a_plain_decoder_of_the_sliced_weights(tmp_path: Path, name: str) -> None:
    model, rng = _load(tmp_path, name), random.Random(0)
    tensors, (ids, mask) = full_tensors(model), tiny_decoder.inputs(2, 11)
    for subnet in [*SPACE, *(tiny_decoder.random_subnet(model.arch, rng) for _ in range(5))]:
        sliced = slice_tensors(tensors, extents(model.arch, subnet))
        for text, kept, logits in zip(ids, mask.bool(), model.logits(ids, mask, subnet), strict=True):
            expected = plain_decoder.run(sliced, model.arch, subnet, text[kept], model.eps)
            torch.testing.assert_close(logits[kept], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", CHECKPOINTS)
@torch.no_grad()
def test_a_subnet_written_by_transformers_is_read_again(tmp_path: Path, name: str) -> None:
    model = _load(tmp_path / "full", name)
    subnet = Subnet.uniform((0, 2), hidden=16, heads=2, ffn=10)
    if name == "gpt2-untied":
        subnet = Subnet.uniform((1, 2), hidden=16, heads=2, ffn=128)
    to_hugging_face(model, subnet, IDS).save_pretrained(tmp_path / "small")
    again = load_pretrained_decoder(tmp_path / "small", scale=1.0, dropout=0.0)
    assert again.arch == model.arch.alone(subnet)
    assert again.eps == model.eps
    feeds = tiny_decoder.inputs(3, 11)
    kept = feeds[1].bool()
    torch.testing.assert_close(
        again.logits(*feeds, again.arch.full)[kept], model.logits(*feeds, subnet)[kept], atol=1e-5, rtol=1e-5
    )
    config = AutoModelForCausalLM.from_pretrained(tmp_path / "small").config
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (1, 2, None)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_family_writes_what_it_reads(tmp_path: Path, name: str) -> None:
    model = _load(tmp_path, name)
    family, stored = family_of(model.arch.model_type), load_file(tmp_path / "model.safetensors")
    written = family.write(full_tensors(model), model.arch)
    assert written.keys() == stored.keys()
    assert all(torch.equal(written[key], stored[key]) for key in stored)


@pytest.mark.parametrize(
    ("name", "subnet", "says"),
    [
        ("gpt2", Subnet.uniform((0,), hidden=32, heads=2, ffn=40), "2 heads of size 8 at a hidden width of 32"),
        (
            "llama-multi-query",
            Subnet.uniform((0,), hidden=32, heads=3, ffn=40),
            "3 heads at a hidden width of 32",
        ),
        ("qwen3", Subnet((LayerShape(0, 4, 40), LayerShape(2, 4, 20)), 32), r"FFN widths \[20, 40\]"),
        ("qwen2", Subnet((LayerShape(0, 4, 40), LayerShape(2, 2, 40)), 32), r"has \[2, 4\] heads"),
    ],
)
def test_what_transformers_cannot_express_is_refused(tmp_path: Path, name: str, subnet: Subnet, says: str) -> None:
    with pytest.raises(ExportError, match=says):
        to_hugging_face(_load(tmp_path, name), subnet, IDS)


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("llama", {"hidden_act": "relu"}, "has the activation 'relu'; supported are silu"),
        ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}}, "'linear'"),
        ("mistral", {"sliding_window": 8}, "sliding window of 8 tokens in texts of 40"),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}, "sliding window"),
        ("qwen3", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}, "sliding window"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ("gpt_bigcode", {"scale_attn_weights": False}, "scale_attn_weights = False; only True"),
    ],
)
def test_a_variant_that_is_not_computed_is_refused(
    tmp_path: Path, name: str, changes: dict[str, Any], says: str
) -> None:
    folder = tiny_decoder.checkpoint(tmp_path, name, **changes)
    with pytest.raises(ModelError, match=says):
        load_pretrained_decoder(folder, scale=1.0, dropout=0.0)


def test_an_unsupported_type_is_refused_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match=r"'bert'.*type gpt2, gpt_bigcode, llama, mistral, qwen2, qwen3"):
        load_pretrained_decoder(tmp_path, scale=1.0, dropout=0.0)


@pytest.mark.parametrize("broken", ["missing", "mismatched"])
def test_a_checkpoint_that_is_not_whole_is_refused(tmp_path: Path, broken: str) -> None:
    path = tiny_decoder.checkpoint(tmp_path, "llama") / "model.safetensors"
    name = "model.layers.1.mlp.up_proj.weight"
    tensors = load_file(path)
    tensors[name] = tensors[name][:5].contiguous()
    if broken == "missing":
        del tensors[name]
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(ModelError, match=f"no fitting tensor '{name}'"):
        load_pretrained_decoder(tmp_path, scale=1.0, dropout=0.0)


@pytest.mark.parametrize("damage", ["no config", "no weights", "pickled weights", "cut weights", "bad config"])
def test_a_folder_that_cannot_be_read_is_refused(tmp_path: Path, damage: str) -> None:
    folder = tiny_decoder.checkpoint(tmp_path, "llama")
    weights, config = folder / "model.safetensors", folder / "config.json"
    if damage == "no config":
        config.unlink()
    elif damage == "bad config":
        config.write_text("{")
    elif damage == "no weights":
        weights.unlink()
    elif damage == "pickled weights":
        torch.save(load_file(weights), folder / "pytorch_model.bin")
        weights.unlink()
    else:
        weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"cannot be (loaded as a decoder|read as JSON)"):
        load_pretrained_decoder(folder, scale=1.0, dropout=0.0)


def test_weights_in_several_files_are_read(tmp_path: Path) -> None:
    model = _load(tmp_path / "one", "llama")
    load_causal_hugging_face(tmp_path / "one").save_pretrained(tmp_path / "many", max_shard_size="20KB")
    assert json.loads((tmp_path / "many" / "model.safetensors.index.json").read_text())
    again = load_pretrained_decoder(tmp_path / "many", scale=1.0, dropout=0.0)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_the_architecture_is_what_the_config_says(tmp_path: Path) -> None:
    arch = _load(tmp_path, "qwen2").arch
    expected = replace(
        tiny_decoder.ARCHITECTURES["grouped"], model_type="qwen2", rope_theta=1e6, qkv_bias=True, activation="silu"
    )
    assert arch == expected
