"""What a step's losses are, against values worked out here from the subnets' own outputs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import tiny_encoder
import torch
from torch import Tensor

from edgedistill.architecture import Subnet
from edgedistill.data.batches import Batch, Encoded
from edgedistill.distillation.losses import FeatureLoss, NoFeatures
from edgedistill.distillation.recipe import Recipe, StageRecipe
from edgedistill.distillation.stages import Part, SubnetTraining, Whole, forward
from edgedistill.distillation.teacher import TeacherOutputs
from edgedistill.supernet.model import ElasticTransformer, ModelOutput
from edgedistill.tasks import task_of

ROWS, SPACE = 6, replace(tiny_encoder.SPACE, layers=((0, 1, 2, 3), (3,)), hidden=(24,))
LOW_RANK = StageRecipe(epochs=1, learning_rate=1e-3, parameters="low-rank")
PAPER = Recipe(
    rank=2,
    depths=LOW_RANK,
    maxnet=True,
    alternate=False,
    teacher_source="maxnet",
    random_subnets=1,
    alpha=0.7,
    beta=0.0,
)


class _Three:
    """A feature loss that is known."""

    def __call__(self, student: ModelOutput, _teacher: ModelOutput, _subnet: Subnet, _mask: Tensor, /) -> Tensor:
        return student.logits.sum() * 0 + 3.0


def _batch() -> Batch:
    ids, mask, types = tiny_encoder.inputs(ROWS, 5)
    return Batch(ids, mask, types, torch.arange(ROWS) % 5, None, tuple(range(ROWS)))


def _parts(
    recipe: Recipe, features: FeatureLoss, teacher: Tensor | None = None
) -> tuple[ElasticTransformer, list[Part]]:
    model, batch = tiny_encoder.encoder(pairs=1), _batch()
    rows = Encoded(((1,),) * ROWS, ((0,),) * ROWS, None, None, 0)
    given = None if teacher is None else TeacherOutputs(teacher, rows)
    training = SubnetTraining(task_of("text-classification"), SPACE, recipe, features, given, stage=2)
    parts = list(training.parts(model, batch, Whole(ROWS, int(batch.attention_mask.sum())), 1))
    assert Counter(part.name for part in parts) == training.counts(1)
    return model, parts


def _by_hand(ours: Tensor, teacher: Tensor, alpha: float, temperature: float) -> float:
    """(1 − α)·cross-entropy + α·T²·KL(teacher‖ours), mean over rows, by the definitions."""
    hard = -ours.softmax(-1).log()[torch.arange(ROWS), torch.arange(ROWS) % 5]
    p, q = (teacher / temperature).softmax(-1), (ours / temperature).softmax(-1)
    soft = temperature**2 * (p * (p / q).log()).sum(-1)
    return float(((1 - alpha) * hard + alpha * soft).mean())


@torch.no_grad()
def test_the_paper_s_step() -> None:
    """The maxnet learns from labels and teaches; α weighs it, T softens it, γ scales the minnet's gradient up."""
    model, (maxnet, minnet, _) = _parts(PAPER.model_copy(update={"gamma": 1.0}), NoFeatures())
    large, small = (forward(model, _batch(), subnet).logits for subnet in (SPACE.maxnet, SPACE.minnet))
    assert float(maxnet.loss) == pytest.approx(_by_hand(large, large, 0.0, 1.0), rel=1e-4)
    assert float(minnet.loss) == pytest.approx(_by_hand(small, large, 0.7, 2.0), rel=1e-4)
    assert maxnet.scale == 1.0
    # By hand, rank 2: a layer's pairs, its vectors and its norms; the pooler's pair and bias, the embedding's
    # norm, and the classifier, beside four layers of 3 heads and 40 neurons or one of 1 head and 10.
    rest = 2 * 48 + 24 + 2 * 24 + 5 * 25
    large_count = 4 * (2 * (4 * 48 + 2 * 64) + 3 * 24 + 24 + 40 + 24 + 4 * 24) + rest
    small_count = 2 * (4 * 32 + 2 * 34) + 3 * 8 + 24 + 10 + 24 + 4 * 24 + rest
    assert minnet.scale == pytest.approx(large_count / small_count)
    assert minnet.scale > 3


@torch.no_grad()
def test_features_count_by_beta_a_token() -> None:
    """β·(their sum over tokens)/tokens on top, for the subnets and not for the maxnet."""
    _, plain = _parts(PAPER, NoFeatures())
    _, more = _parts(PAPER.model_copy(update={"features": "relations", "beta": 0.5}), _Three())
    added = 0.5 * 3.0 / int(_batch().attention_mask.sum())
    gaps = [float(b.loss - a.loss) for a, b in zip(plain, more, strict=True)]
    assert gaps == pytest.approx([0.0, added, added], abs=1e-5)


@torch.no_grad()
def test_the_defaults_step() -> None:
    """The stored answers teach one subnet, the minnet in the first step; the maxnet does not run."""
    teacher = torch.randn(ROWS, 5, generator=torch.Generator().manual_seed(1))
    recipe = Recipe(rank=2)
    model, parts = _parts(recipe, NoFeatures(), teacher)
    assert [part.name for part in parts] == ["minnet"]
    small = forward(model, _batch(), SPACE.minnet).logits
    expected = _by_hand(small, teacher, recipe.alpha, recipe.temperature)
    assert float(parts[0].loss) == pytest.approx(expected, rel=1e-4)


@torch.no_grad()
def test_subnets_in_turn() -> None:
    """A step has one of the subnets that it would have summed: the minnet in every third, random ones between."""
    recipe = Recipe(rank=2)
    task = task_of("text-classification")
    summed, turns = (
        SubnetTraining(task, SPACE, recipe.model_copy(update={"alternate": by}), NoFeatures(), None, stage=2)
        for by in (False, True)
    )
    model = tiny_encoder.encoder(pairs=1)
    for step in range(1, 7):
        all_of_them, (one,) = summed.subnets(step), turns.subnets(step)
        assert one == all_of_them[(step - 1) % 3]
        assert turns.counts(step) == {one[0]: 1}
    assert [turns.subnets(step)[0][0] for step in range(1, 5)] == ["minnet", "random", "random", "minnet"]
    costs = [sum(training.flops(model, 4, 8, step) for step in range(1, 31)) for training in (summed, turns)]
    assert costs[1] < costs[0] / 2
