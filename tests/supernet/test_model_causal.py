"""What a stage of the elastic decoder trains, what a call leaves behind, and what a mask hides."""

from __future__ import annotations

import pytest
import tiny_decoder
import torch

from edgedistill.architecture import Subnet
from edgedistill.errors import RecipeError

ARCHITECTURES = tiny_decoder.ARCHITECTURES


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.no_grad()
def test_a_new_stage_changes_no_output(name: str) -> None:
    arch = ARCHITECTURES[name]
    model, feeds = tiny_decoder.decoder(arch), tiny_decoder.inputs(2, 6)
    before = model.logits(*feeds, arch.full)
    model.begin_stage(4, torch.Generator().manual_seed(1))
    torch.testing.assert_close(model.logits(*feeds, arch.full), before, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_only_the_new_pairs_biases_and_norms_train(name: str) -> None:
    arch = ARCHITECTURES[name]
    model = tiny_decoder.decoder(arch, pairs=1)
    model.begin_stage(4, torch.Generator())
    logits = model.logits(*tiny_decoder.inputs(2, 6), tiny_decoder.SPACE.minnet)
    assert logits.shape == (2, 6, arch.vocabulary)
    logits.square().sum().backward()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert all(".pairs.1." in n or n.endswith("bias") or "norm" in n for n in trained)
    assert "layers.0.query.pairs.1.A" in trained
    assert "norm.weight" in trained
    assert ("head.pairs.1.B" in trained) == (not arch.tied)
    reached = {name for name, p in model.named_parameters() if p.grad is not None}
    assert {n for n in trained if not n.startswith(("layers.0", "layers.2"))} == reached  # the minnet has layer 1


def test_a_stage_without_rank_trains_the_matrices_themselves() -> None:
    arch = ARCHITECTURES["grouped"]
    model, feeds = tiny_decoder.decoder(arch, pairs=1), tiny_decoder.inputs(2, 6)
    with torch.no_grad():
        before = model.logits(*feeds, arch.full)
    model.begin_stage(None, torch.Generator())
    after = model.logits(*feeds, arch.full)
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-4)
    after.square().sum().backward()
    assert all(linear.weight.grad is not None for linear in model.elastic_linears().values())
    assert model.word.weight.grad is None
    model.freeze()
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_dropout_acts_in_training_alone() -> None:
    arch, feeds = ARCHITECTURES["grouped"], tiny_decoder.inputs(2, 6)
    model = tiny_decoder.decoder(arch)
    for layer in model.layers:
        layer.dropout = 0.5
    with torch.no_grad():
        still = model.logits(*feeds, arch.full)
        assert torch.equal(model.logits(*feeds, arch.full), still)
        assert not torch.allclose(model.train().logits(*feeds, arch.full), still)


@torch.no_grad()
def test_a_call_leaves_no_subnet_active() -> None:
    arch, feeds = ARCHITECTURES["grouped"], tiny_decoder.inputs(2, 6)
    model = tiny_decoder.decoder(arch)
    before = model.logits(*feeds, arch.full)
    with pytest.raises(IndexError):
        model.logits(torch.full((2, 6), 99), feeds[1], tiny_decoder.SPACE.minnet)
    assert torch.equal(model.logits(*feeds, arch.full), before)


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.no_grad()
def test_a_token_reads_no_token_behind_it_and_no_padding(name: str) -> None:
    arch = ARCHITECTURES[name]
    model = tiny_decoder.decoder(arch)
    ids, _ = tiny_decoder.inputs(1, 9)
    mask = torch.tensor([[0, 0, 1, 1, 1, 1, 1, 1, 0]])
    before = model.logits(ids, mask, arch.full)
    changed = ids.clone()
    changed[0, [0, 1, 6, 7, 8]] = (changed[0, [0, 1, 6, 7, 8]] + 1) % arch.vocabulary
    after = model.logits(changed, mask, arch.full)
    torch.testing.assert_close(after[:, 2:6], before[:, 2:6])
    assert not torch.allclose(after[:, 6:8], before[:, 6:8])
    assert after.isfinite().all()


@pytest.mark.parametrize(("name", "heads"), [("grouped", 3), ("grouped", 6), ("multi-query", 5), ("multi-head", 0)])
def test_heads_that_are_no_whole_groups_are_refused(name: str, heads: int) -> None:
    arch = ARCHITECTURES[name]
    subnet = Subnet.uniform((0,), hidden=32, heads=heads, ffn=8)
    with pytest.raises(RecipeError, match=f"{heads} query heads are not whole groups of this model's 4"):
        tiny_decoder.decoder(arch).logits(*tiny_decoder.inputs(1, 3), subnet)


def test_each_way_of_sharing_keys_keeps_the_kv_heads_that_its_query_heads_read() -> None:
    kept = {name: [arch.kv_heads_of(heads) for heads in (4, 2)] for name, arch in ARCHITECTURES.items()}
    assert kept["multi-head"] == [4, 2]
    assert kept["grouped"] == [2, 1]
    assert kept["multi-query"] == [1, 1]
