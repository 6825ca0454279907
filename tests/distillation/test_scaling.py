"""Counts of trained parameters, and the gradient scaling made of them."""

from __future__ import annotations

import pytest
import tiny_encoder
import torch

from edgedistill.distillation.batches import Batch
from edgedistill.distillation.losses import FeatureProjection
from edgedistill.distillation.recipe import Recipe
from edgedistill.distillation.scaling import gradient_scale, trained_parameters
from edgedistill.distillation.stages import _backward
from edgedistill.subnet import Architecture
from edgedistill.supernet.encoder import ElasticEncoder

MINILM = Architecture(
    model_type="bert",
    layers=6,
    hidden=384,
    heads=12,
    head_size=32,
    ffn=1536,
    vocabulary=30522,
    positions=512,
    token_types=2,
    labels=150,
)


@pytest.mark.parametrize("rank", [1, 8])
def test_a_stage_trains_r_times_in_plus_out_a_matrix(rank: int) -> None:
    """2rd for a square matrix: so 6rd over three stages; r(d + f) for the FFN's."""
    d, f, per_layer = 384, 1536, 4
    square, wide = 2 * rank * d, rank * (d + f)
    counts = trained_parameters(MINILM, MINILM.full, rank)
    assert counts.low_rank == 6 * (per_layer * square + 2 * wide) + square  # the pooler is one more square one


@pytest.mark.parametrize("pairs", [1, 3])
def test_the_counts_are_those_of_the_model(pairs: int) -> None:
    model, rank = tiny_encoder.encoder(pairs=pairs, rank=3), 3
    counts = trained_parameters(tiny_encoder.ARCH, tiny_encoder.ARCH.full, rank)
    assert counts.total == sum(p.numel() for p in model.parameters() if p.requires_grad)
    held = sum(p.numel() for name, p in model.named_parameters() if ".pairs." in name)
    assert held == pairs * counts.low_rank


def test_minilm_has_the_sizes_that_are_written_of_it() -> None:
    assert MINILM.layer_parameters(MINILM.full) == 10_616_832
    head = 150 * 384 + 150
    assert MINILM.total_parameters(MINILM.full) - head == 22_713_216


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_the_small_subnets_gradient_is_scaled(gamma: float) -> None:
    """The summed gradient is the maxnet's plus (n₁/n_j)^γ times the subnet's; seen before the optimizer."""
    gradients = {}
    for exponent in (0.0, gamma):
        model = tiny_encoder.encoder(pairs=1)
        minnet = tiny_encoder.SPACE.minnet
        ids, mask, types = tiny_encoder.inputs(6, 5)
        batch = Batch(ids, mask, types, torch.arange(6) % 5)
        recipe = Recipe(rank=2, gamma=exponent, beta=0.0)
        projection = FeatureProjection([torch.randn(30, 24) for _ in range(4)], 4)
        gradients["maxnet"] = _gradient(model, batch, [], recipe, projection)
        gradients[exponent] = _gradient(model, batch, [minnet], recipe, projection) - gradients["maxnet"]
    n1, nj = (trained_parameters(tiny_encoder.ARCH, s, 2).total for s in (tiny_encoder.ARCH.full, minnet))
    torch.testing.assert_close(gradients[gamma], gradients[0.0] * gradient_scale(n1, nj, gamma), atol=1e-4, rtol=1e-3)


def _gradient(
    model: ElasticEncoder, batch: Batch, subnets: list[object], recipe: Recipe, projection: FeatureProjection
) -> torch.Tensor:
    model.zero_grad()
    list(_backward(model, batch, tiny_encoder.ARCH.full, subnets, recipe, projection))  # type: ignore[arg-type]
    gradient = model.layers[3].ffn_down.pairs[0].B.grad
    assert gradient is not None
    return gradient.clone()
