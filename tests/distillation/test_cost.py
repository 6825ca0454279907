"""Counted FLOPs against those that torch counts as it runs."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import tiny_encoder
import torch
from flops import counted_flops

from edgedistill.distillation.cost import forward_flops, train_flops
from edgedistill.supernet.model import ElasticTransformer

ARCH = replace(tiny_encoder.ARCH, hidden=96, heads=6, head_size=16, ffn=384, layers=3)


def _counted(rank: int | None, *, train: bool) -> tuple[int, int]:
    """(FLOPs by torch, FLOPs by us) of a random subnet on 4 rows of 32 tokens."""
    rng = random.Random(0)
    model = ElasticTransformer(ARCH)
    model.begin_stage(rank, torch.Generator().manual_seed(0))
    subnet = replace(ARCH.full, layers=tuple(replace(la, ffn=rng.choice((192, 384))) for la in ARCH.full.layers))
    ids = torch.randint(0, ARCH.vocabulary, (4, 32))
    with counted_flops() as counter:
        logits = model(ids, torch.ones_like(ids), torch.zeros_like(ids), subnet).logits
        if train:
            logits.sum().backward()
    if train:
        return counter.get_total_flops(), train_flops(ARCH, subnet, rank, rows=4, tokens=32)
    return counter.get_total_flops(), forward_flops(ARCH, subnet, rows=4, tokens=32)


@pytest.mark.parametrize(("rank", "train"), [(4, True), (None, True)])
def test_training_costs_what_torch_counts(rank: int | None, train: bool) -> None:
    """Within 6 %: the first layer needs no gradient of its input, which we do not take off."""
    torchs, ours = _counted(rank, train=train)
    assert 0.94 < torchs / ours < 1.02


def test_a_forward_pass_costs_what_torch_counts() -> None:
    model = ElasticTransformer(ARCH)
    model.freeze()
    ids = torch.randint(0, ARCH.vocabulary, (4, 32))
    with counted_flops() as counter, torch.no_grad():
        model(ids, torch.ones_like(ids), torch.zeros_like(ids), ARCH.full)
    assert 0.98 < counter.get_total_flops() / forward_flops(ARCH, ARCH.full, rows=4, tokens=32) < 1.02
