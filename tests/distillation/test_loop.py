"""One stage's loop on a tiny encoder: it learns, repeats, adds parts up to the whole, and stops where it should."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import tiny_encoder
import torch
from accelerate import Accelerator
from tiny_training import first_tokens, same_weights

from edgedistill.data.batches import Encoded
from edgedistill.distillation.evaluation import Score, evaluate
from edgedistill.distillation.loop import StageLoop, StepReport
from edgedistill.distillation.recipe import Recipe, StageRecipe
from edgedistill.distillation.stages import FineTuning, SubnetTraining, feature_loss_for
from edgedistill.errors import TrainingError
from edgedistill.supernet.model import ElasticTransformer
from edgedistill.tasks import task_of

TASK = task_of("text-classification")
SPACE = tiny_encoder.SPACE
RECIPE = Recipe(
    rank=4,
    batch_size=8,
    teacher=StageRecipe(epochs=10, learning_rate=0.01, parameters="low-rank"),
    widths=StageRecipe(epochs=2, learning_rate=0.01, parameters="low-rank"),
    depths=StageRecipe(epochs=5, learning_rate=0.01, parameters="low-rank"),
    dropout=0.0,
    maxnet=True,
    alternate=False,
    teacher_source="maxnet",
    features="projections",
)
CPU = Accelerator(cpu=True)
STAGES = ("teacher", "widths", "depths")


def _no_scores() -> dict[str, Score]:
    return {"maxnet": Score({"accuracy": 0.5}, 1.0)}


def _loop(model: ElasticTransformer, data: Encoded, recipe: Recipe, stage: int) -> StageLoop:
    model.begin_stage(recipe.pair_rank(stage), torch.Generator().manual_seed(stage))
    if stage == 0:
        return StageLoop(model, data, FineTuning(TASK, recipe), recipe, 0, CPU)
    space = SPACE.at_full_depth() if stage == 1 else SPACE
    features = feature_loss_for(model, space, data, recipe)
    return StageLoop(model, data, SubnetTraining(TASK, space, recipe, features, None, stage), recipe, stage, CPU)


def _run(
    model: ElasticTransformer,
    recipe: Recipe,
    stage: int,
    *,
    data: Encoded | None = None,
    validate: Callable[[], dict[str, Score]] = _no_scores,
) -> list[StepReport]:
    reports: list[StepReport] = []
    _loop(model, data or first_tokens(), recipe, stage).run(reports.append, validate, lambda: None)
    model.freeze()
    model.eval()
    return reports


def _trained(recipe: Recipe) -> tuple[ElasticTransformer, list[StepReport]]:
    model = tiny_encoder.trainable()
    return model, [report for stage in (0, 1, 2) for report in _run(model, recipe, stage)]


def _accuracy(model: ElasticTransformer, small: bool) -> float:
    subnet = SPACE.minnet if small else SPACE.maxnet
    return evaluate(model, subnet, first_tokens(), TASK, names="abcde").value


@pytest.mark.slow
@pytest.mark.parametrize("parameters", ["low-rank", "full"])
def test_all_three_stages_teach_the_smallest_subnet(parameters: str) -> None:
    stages = {name: getattr(RECIPE, name).model_copy(update={"parameters": parameters}) for name in STAGES}
    model, reports = _trained(RECIPE.model_copy(update=stages))
    assert _accuracy(model, small=False) > 0.9
    assert _accuracy(model, small=True) > 0.6  # chance is 0.2
    assert [r.stage for r in reports] == sorted(r.stage for r in reports)
    assert set(reports[-1].losses) == {"maxnet", "minnet", "random"}
    assert (reports[-1].step, reports[-1].steps, reports[-1].ended) == (60, 60, True)
    assert [r.step for r in reports if r.stage == 2 and r.scored] == [12, 24, 36, 48, 60]


def test_the_same_seed_gives_the_same_weights_and_another_does_not() -> None:
    short = RECIPE.model_copy(update=dict.fromkeys(STAGES, StageRecipe(epochs=0.2, learning_rate=0.01)))
    first, second, other = (
        _trained(short.model_copy(update={"seed": seed}))[0].layers[0].query.full_weight() for seed in (0, 0, 1)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 1, 2])
@pytest.mark.parametrize("features", ["projections", "relations"])
def test_parts_of_a_batch_give_the_gradient_of_the_whole(stage: int, features: str) -> None:
    """Texts of unequal length, so that a mean of means would differ; plain SGD, since Adam hides a factor."""
    recipe = RECIPE.model_copy(
        update=dict.fromkeys(STAGES, StageRecipe(epochs=0.5, learning_rate=0.01, parameters="low-rank"))
        | {"optimizer": "sgd", "clip_norm": None, "features": features, "beta": 0.5, "alpha": 0.5}
    )
    ended = []
    for micro in (None, 3, 1):
        model = tiny_encoder.trainable()
        _run(model, recipe.model_copy(update={"micro_batch": micro}), stage)
        ended.append(model.state_dict())
    same_weights(ended[1], ended[0], 1e-5)
    same_weights(ended[2], ended[0], 1e-5)
    start = tiny_encoder.trainable().state_dict()
    assert not torch.equal(ended[0]["classifier.weight"], start["classifier.weight"])


def test_a_loss_that_is_no_number_stops_training() -> None:
    model = tiny_encoder.trainable()
    model.classifier.bias.data[0] = float("nan")
    with pytest.raises(TrainingError, match="stage 0 diverged at step 1"):
        _run(model, RECIPE, 0)


def test_patience_ends_a_stage_at_its_best_weights() -> None:
    values = iter([0.5, 0.7, 0.6, 0.6, 0.9])
    model = tiny_encoder.trainable()
    seen: list[torch.Tensor] = []

    def validate() -> dict[str, Score]:
        seen.append(model.classifier.weight.detach().clone())
        return {"maxnet": Score({"accuracy": next(values)}, 1.0)}

    reports = _run(model, RECIPE.model_copy(update={"patience": 2}), 0, validate=validate)
    assert reports[-1].step == 48
    assert reports[-1].ended
    assert torch.equal(model.classifier.weight, seen[1])


def test_only_the_first_stage_has_dropout() -> None:
    model = tiny_encoder.trainable()
    modes: list[bool] = []
    model.register_forward_hook(lambda module, *_: modes.append(module.training))
    for stage in (0, 1):
        _run(model, RECIPE.model_copy(update={"teacher": RECIPE.widths}), stage)
    stages = iter(modes)
    assert _take(stages, 24) == [True] * 24
    assert not any(stages)


def _take(values: Iterator[bool], count: int) -> list[bool]:
    return [next(values) for _ in range(count)]
