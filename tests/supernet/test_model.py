"""What a stage of the elastic encoder trains, and that a call leaves nothing behind."""

from __future__ import annotations

import pytest
import tiny_encoder
import torch
from torch.nn import functional as F

from edgedistill.architecture import LayerShape, Subnet


def test_a_new_stage_changes_no_output() -> None:
    model = tiny_encoder.encoder()
    feeds = tiny_encoder.inputs(2, 6)
    with torch.no_grad():
        before = model(*feeds, tiny_encoder.ARCH.full).logits
        model.begin_stage(4, torch.Generator().manual_seed(1))
        after = model(*feeds, tiny_encoder.ARCH.full).logits
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-4)


def test_only_the_new_pairs_biases_norms_and_head_train() -> None:
    model = tiny_encoder.encoder(pairs=1)
    model.begin_stage(4, torch.Generator())
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert all(".pairs.1." in n or n.endswith("bias") or "norm" in n or "classifier" in n for n in trained)
    assert "layers.0.query.pairs.1.A" in trained
    assert "classifier.weight" in trained
    assert not any(n.startswith("embeddings") and "norm" not in n for n in trained)


def test_a_call_leaves_no_subnet_active() -> None:
    model = tiny_encoder.encoder()
    feeds = tiny_encoder.inputs(2, 6)
    with torch.no_grad():
        before = model(*feeds, tiny_encoder.ARCH.full).logits
        with pytest.raises(IndexError):
            model(torch.full((2, 6), 99), *feeds[1:], tiny_encoder.SPACE.minnet)
        assert torch.equal(model(*feeds, tiny_encoder.ARCH.full).logits, before)


def test_a_stage_without_rank_trains_the_matrices_themselves() -> None:
    """It takes the earlier pairs in, changes no output at first, adds no pair, and freezing keeps what it learnt."""
    model = tiny_encoder.encoder(pairs=1)
    feeds, subnet = tiny_encoder.inputs(2, 6), tiny_encoder.SPACE.minnet
    with torch.no_grad():
        before = model(*feeds, subnet).logits
    model.begin_stage(None, torch.Generator())
    loss = model(*feeds, subnet).logits.square().sum()
    loss.backward()
    matrices = {name: linear.weight for name, linear in model.elastic_linears().items()}
    assert all(weight.requires_grad for weight in matrices.values())
    assert not any(".pairs." in name for name in model.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(model(*feeds, subnet).logits, before, atol=1e-5, rtol=1e-4)
        matrices["layers.3.query"] -= matrices["layers.3.query"].grad
        trained = model(*feeds, subnet).logits
        model.freeze()
        assert torch.equal(model(*feeds, subnet).logits, trained)
    assert not torch.allclose(trained, before)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_relations_are_those_of_the_last_kept_layer() -> None:
    model, subnet = tiny_encoder.encoder(), Subnet((LayerShape(0, 3, 10), LayerShape(2, 2, 7)), 16)
    model.freeze()
    with torch.no_grad():
        output = model(*tiny_encoder.inputs(2, 6), subnet)
        layer = model.layers[2]
        for linear, relation in zip((layer.query, layer.key, layer.value), output.relations, strict=True):
            expected = F.linear(output.hidden[0], linear.merged[:16, :16], linear.bias[:16])
            torch.testing.assert_close(relation, expected.unflatten(-1, (2, 8)).transpose(1, 2))
