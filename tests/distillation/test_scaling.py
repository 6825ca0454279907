"""Counts of trained parameters, and the gradient scaling made of them."""

from __future__ import annotations

from dataclasses import replace

import minilm
import pytest
import tiny_encoder
import torch

from edgedistill.data.batches import Batch
from edgedistill.distillation.losses import NoFeatures
from edgedistill.distillation.recipe import Recipe, StageRecipe
from edgedistill.distillation.scaling import gradient_scale, trained_parameters
from edgedistill.distillation.stages import SubnetTraining, Whole
from edgedistill.tasks import task_of

MINILM = replace(minilm.ARCH, outputs=150)


@pytest.mark.parametrize("rank", [1, 8])
def test_a_stage_trains_r_times_in_plus_out_a_matrix(rank: int) -> None:
    """2rd for a square matrix: so 6rd over three stages; r(d + f) for the FFN's."""
    d, f, per_layer = 384, 1536, 4
    square, wide = 2 * rank * d, rank * (d + f)
    counts = trained_parameters(MINILM, MINILM.full, rank)
    assert counts.matrices == 6 * (per_layer * square + 2 * wide) + square  # the pooler is one more square one


@pytest.mark.parametrize("pairs", [1, 3])
def test_the_counts_are_those_of_the_model(pairs: int) -> None:
    model, rank = tiny_encoder.encoder(pairs=pairs, rank=3), 3
    counts = trained_parameters(tiny_encoder.ARCH, tiny_encoder.ARCH.full, rank)
    assert counts.total == sum(p.numel() for p in model.parameters() if p.requires_grad)
    held = sum(p.numel() for name, p in model.named_parameters() if ".pairs." in name)
    assert held == pairs * counts.matrices


def test_minilm_has_the_sizes_that_are_written_of_it() -> None:
    assert MINILM.layer_parameters(MINILM.full) == 10_616_832
    head = 150 * 384 + 150
    assert MINILM.total_parameters(MINILM.full) - head == 22_713_216


def test_full_training_has_no_pairs_to_count() -> None:
    counts = trained_parameters(MINILM, MINILM.full, None)
    assert counts.matrices == counts.full_matrices == 10_616_832 + 384 * 384


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_the_small_subnets_gradient_is_scaled(gamma: float) -> None:
    """The summed gradient is the maxnet's plus (n₁/n_j)^γ times the subnet's; seen before the optimizer."""
    maxnet, plain, scaled = (
        _gradient(part, exponent) for part, exponent in (("maxnet", 0), ("all", 0), ("all", gamma))
    )
    n1, nj = (
        trained_parameters(tiny_encoder.ARCH, s, 2).total for s in (tiny_encoder.ARCH.full, tiny_encoder.SPACE.minnet)
    )
    factor = gradient_scale(n1, nj, gamma)
    torch.testing.assert_close(scaled - maxnet, (plain - maxnet) * factor, atol=1e-4, rtol=1e-3)


def _gradient(parts: str, gamma: float) -> torch.Tensor:
    model = tiny_encoder.encoder(pairs=1)
    ids, mask, types = tiny_encoder.inputs(6, 5)
    batch = Batch(ids, mask, types, torch.arange(6) % 5, None, tuple(range(6)))
    stage = StageRecipe(epochs=1, learning_rate=1e-3, parameters="low-rank")
    step = {"random_subnets": 0, "maxnet": True, "teacher_source": "maxnet", "alternate": False, "beta": 0.0}
    recipe = Recipe.model_validate({"rank": 2, "gamma": gamma, "depths": stage} | step)
    training = SubnetTraining(task_of("text-classification"), tiny_encoder.SPACE, recipe, NoFeatures(), None, stage=2)
    for part in training.parts(model, batch, Whole(6, int(mask.sum())), 1):
        (part.loss * part.scale).backward()
        if part.name == parts:
            break
    gradient = model.layers[3].ffn_down.pairs[0].B.grad
    assert gradient is not None
    return gradient.clone()


@pytest.mark.parametrize("gamma", [0.0, 0.25, 1.0])
def test_a_subnet_alone_in_its_step_has_its_learning_rate_scaled(gamma: float) -> None:
    """Adam would undo a factor of the gradient, so it is the rate's: (n₁/n_j)^γ of the step's subnet."""
    model = tiny_encoder.encoder(pairs=1)
    recipe = Recipe(gamma=gamma)
    task = task_of("text-classification")
    turns, summed = (
        SubnetTraining(
            task, tiny_encoder.SPACE, recipe.model_copy(update={"alternate": by}), NoFeatures(), None, stage=2
        )
        for by in (True, False)
    )
    n1 = trained_parameters(tiny_encoder.ARCH, tiny_encoder.SPACE.maxnet, None).total
    for step in range(1, 7):
        ((_, subnet),) = turns.subnets(step)
        nj = trained_parameters(tiny_encoder.ARCH, subnet, None).total
        assert turns.rate(model, step) == pytest.approx((n1 / nj) ** gamma)
        assert summed.rate(model, step) == 1.0
