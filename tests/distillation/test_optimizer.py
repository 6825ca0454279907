"""The optimizer's step: the learning rate's rise and fall, clipping, and what decays."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgedistill.distillation.optimizer import Optimizer
from edgedistill.distillation.recipe import Recipe, StageRecipe

STEPS, PEAK = 100, 0.5


def _moved(recipe: Recipe, steps: int, gradient: float) -> tuple[list[float], list[float]]:
    """How far a matrix's and a vector's entries of 1 move in each of the first steps by plain SGD."""
    matrix, vector = nn.Parameter(torch.ones(1, 1)), nn.Parameter(torch.ones(1))
    named = [("matrix", matrix), ("vector", vector)]
    optimizer = Optimizer(named, recipe, StageRecipe(epochs=1, learning_rate=PEAK), STEPS)
    found: tuple[list[float], list[float]] = ([], [])
    for step in range(1, steps + 1):
        for p, moves in zip((matrix, vector), found, strict=True):
            p.data.fill_(1.0)
            p.grad = torch.full_like(p, gradient)
            moves.append(1.0)
        optimizer.move(step)
        for p, moves in zip((matrix, vector), found, strict=True):
            moves[-1] -= float(p.detach())
            assert p.grad is None
    return found


def test_the_rate_rises_for_six_steps_of_a_hundred_and_falls_to_one_ninety_fourth() -> None:
    recipe = Recipe(optimizer="sgd", clip_norm=None, weight_decay=0.0)
    rates, _ = _moved(recipe, STEPS, 1.0)
    assert rates[:6] == pytest.approx([PEAK * k / 6 for k in range(1, 7)], rel=1e-4)
    assert rates[6] == pytest.approx(PEAK, rel=1e-4)
    assert rates[53] == pytest.approx(PEAK / 2, rel=1e-4)
    assert rates[-1] == pytest.approx(PEAK / 94, rel=1e-3)


def test_a_gradient_is_clipped_as_a_whole() -> None:
    """Two entries of 3 have a norm of 3·√2; clipped to 1 each moves by the rate over √2. 0.3 is left alone."""
    recipe = Recipe(optimizer="sgd", clip_norm=1.0, weight_decay=0.0)
    for moves in _moved(recipe, 7, 3.0):
        assert moves[-1] == pytest.approx(PEAK / 2**0.5, rel=1e-4)
    for moves in _moved(recipe, 7, 0.3):
        assert moves[-1] == pytest.approx(PEAK * 0.3, rel=1e-4)


def test_only_matrices_decay() -> None:
    matrix, vector = _moved(Recipe(optimizer="sgd", clip_norm=None, weight_decay=0.2), 7, 0.0)
    assert matrix[-1] == pytest.approx(PEAK * 0.2, rel=1e-4)
    assert vector[-1] == 0.0


def test_a_step_s_own_factor_is_of_its_rate_alone() -> None:
    """Adam's first steps go by the rate whatever the gradient: a factor of two moves twice as far."""
    for kind in ("sgd", "adamw"):
        moves = []
        for factor in (1.0, 2.0):
            p = nn.Parameter(torch.ones(1))
            recipe = Recipe.model_validate({"optimizer": kind, "clip_norm": None})
            optimizer = Optimizer([("vector", p)], recipe, StageRecipe(epochs=1, learning_rate=0.01), STEPS)
            p.grad = torch.ones(1)
            optimizer.move(1, factor)
            moves.append(1.0 - float(p.detach()))
        assert moves[1] == pytest.approx(2 * moves[0], rel=1e-3)
