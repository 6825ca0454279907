"""Supernets on disk: those that were written before there was one architecture for all transformers still open."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_decoder import ARCHITECTURES, SPACE, decoder
from tiny_encoder import ARCH, encoder
from tiny_encoder import SPACE as ENCODER_SPACE
from tokenizers import Tokenizer, models

from edgedistill.architecture import Architecture, SearchSpace
from edgedistill.supernet import checkpoint
from edgedistill.supernet.checkpoint import DataSource, Supernet, SupernetInfo

# What an architecture of each kind said.
_ENCODER = "token_types outputs pooling dense normalise"
_DECODER = "kv_heads rope_theta norm gated activation qkv_bias output_bias ffn_bias qk_norm tied"
_BOTH = "model_type layers hidden heads head_size ffn vocabulary positions"


def _supernet(model: Any, space: SearchSpace) -> Supernet:
    info = SupernetInfo(
        architecture=model.arch,
        eps=model.eps,
        base_model="base",
        base_revision=None,
        base_sha256="0",
        task="text-generation" if model.arch.causal else "text-classification",
        labels=[],
        max_tokens=8,
        pad_token=None,
        pad_token_id=0,
        data=DataSource(data=None, unlabelled=None, text_columns=("text",), label_column=None, sha256="0"),
        recipe={},
        rank=2,
        scale=0.5,
        seed=0,
        scores=[],
        versions={},
    )
    return Supernet(model, space, info, Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))


@pytest.mark.parametrize("kind", ["encoder", *ARCHITECTURES])
def test_an_older_supernet_opens_as_it_was(kind: str, tmp_path: Path) -> None:
    arch, fields = (ARCH, _ENCODER) if kind == "encoder" else (ARCHITECTURES[kind], _DECODER)
    supernet = _supernet(encoder(ARCH), ENCODER_SPACE) if kind == "encoder" else _supernet(decoder(arch), SPACE)
    checkpoint.save(supernet, tmp_path / "supernet")
    path = tmp_path / "supernet" / "supernet.json"
    document = json.loads(path.read_text())
    fields_then = f"{_BOTH} {fields}".split()
    now = document["info"]["architecture"]
    document["info"]["architecture"] = {key: now[key] for key in fields_then}
    path.write_text(json.dumps(document))
    again = checkpoint.load(tmp_path / "supernet")
    assert isinstance(again.info.architecture, Architecture)
    assert again.info.architecture == arch
    state = supernet.model.state_dict()
    assert state.keys() == again.model.state_dict().keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in again.model.state_dict().items())


def test_a_subnet_of_a_decoder_alone_has_its_kv_heads() -> None:
    arch = ARCHITECTURES["grouped"]
    assert arch.alone(SPACE.minnet) == replace(arch, layers=1, hidden=16, heads=2, kv_heads=1, ffn=11)
