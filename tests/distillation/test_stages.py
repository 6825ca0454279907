"""The training loops on a tiny encoder: they learn, they repeat, they stop at a loss that is no number."""

from __future__ import annotations

import random

import pytest
import tiny_encoder
import torch

from edgedistill.distillation.batches import Encoded, shuffled_batches, sorted_batches
from edgedistill.distillation.evaluation import evaluate
from edgedistill.distillation.recipe import Recipe, StageRecipe
from edgedistill.distillation.stages import StepReport, fine_tune, train_subnets
from edgedistill.errors import InputError, TrainingError
from edgedistill.supernet.encoder import ElasticEncoder

RECIPE = Recipe(
    rank=4,
    batch_size=8,
    teacher=StageRecipe(epochs=10, learning_rate=0.01),
    widths=StageRecipe(epochs=2, learning_rate=0.01),
    depths=StageRecipe(epochs=5, learning_rate=0.01),
    dropout=0.0,
)
SPACE = tiny_encoder.SPACE


def _rows() -> Encoded:
    """The label is which of five tokens the text begins with."""
    rng = random.Random(0)
    labels = [rng.randrange(5) for _ in range(96)]
    ids = tuple((1, 10 + label, *(rng.randrange(20, 50) for _ in range(rng.randrange(6)))) for label in labels)
    return Encoded(ids, tuple(labels), 0)


def _trained(seed: int = 0) -> tuple[ElasticEncoder, list[StepReport]]:
    reports: list[StepReport] = []
    model, data = tiny_encoder.trainable(), _rows()
    recipe = RECIPE.model_copy(update={"seed": seed})
    fine_tune(model, data, data, recipe, reports.append)
    train_subnets(model, SPACE.at_full_depth(), data, recipe, reports.append, stage=1)
    train_subnets(model, SPACE, data, recipe, reports.append, stage=2)
    return model, reports


def test_all_three_stages_teach_the_smallest_subnet() -> None:
    model, reports = _trained()
    data = _rows()
    assert evaluate(model, SPACE.maxnet, data).accuracy > 0.9
    assert evaluate(model, SPACE.minnet, data).accuracy > 0.6  # chance is 0.2
    assert [r.stage for r in reports] == sorted(r.stage for r in reports)
    assert set(reports[-1].losses) == {"maxnet", "minnet", "random"}
    assert reports[-1].step == reports[-1].steps == 60


def test_the_same_seed_gives_the_same_weights_and_another_does_not() -> None:
    first, second, other = (_trained(seed)[0].layers[0].query.full_weight() for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_a_loss_that_is_no_number_stops_training() -> None:
    model = tiny_encoder.trainable()
    model.classifier.bias.data[0] = float("nan")
    with pytest.raises(TrainingError, match="stage 0 diverged"):
        fine_tune(model, _rows(), _rows(), RECIPE, lambda _: None)


def test_every_row_is_in_an_epoch_once() -> None:
    data = _rows()
    batches = shuffled_batches(data, 8, random.Random(0))
    seen = sorted(
        tuple(b.input_ids[i][b.attention_mask[i] == 1].tolist()) for b in _take(batches, 12) for i in range(8)
    )
    assert seen == sorted(data.ids)
    assert sum(len(b.labels) for b in sorted_batches(data, 7)) == 96


def _take(batches: object, count: int) -> list:  # type: ignore[type-arg]
    return [next(batches) for _ in range(count)]  # type: ignore[call-overload]


def test_shares_that_do_not_begin_with_the_whole_are_refused() -> None:
    with pytest.raises(InputError, match="expected the first to be 1"):
        Recipe(width_shares=(0.5, 0.25)).heads(tiny_encoder.ARCH)
