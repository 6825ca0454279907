"""The three stages' training loops: what one step does.

Stage 0 fine-tunes the full model on the labels. In stages 1 and 2 each step trains the maxnet first, which
teaches, then the minnet and one random subnet (the paper fixes the maxnet; the minnet follows the sandwich
rule), their gradients scaled and summed before the optimizer moves.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from edgedistill.distillation.batches import Batch, Encoded, shuffled_batches
from edgedistill.distillation.evaluation import evaluate
from edgedistill.distillation.losses import FeatureProjection, logit_loss
from edgedistill.distillation.recipe import Recipe, StageRecipe
from edgedistill.distillation.scaling import gradient_scale, trained_parameters
from edgedistill.errors import TrainingError
from edgedistill.subnet import SearchSpace, SubnetConfig
from edgedistill.supernet.encoder import ElasticEncoder, EncoderOutput

__all__ = ["StepReport", "Watcher", "fine_tune", "forward", "train_subnets"]

_WARM_UP = 0.06
_PROJECTED = 64
_PROJECTION_BATCHES = 8


@dataclass(frozen=True)
class StepReport:
    """After a step: which stage, how far, and the loss of each subnet that it trained."""

    stage: int
    step: int
    steps: int
    losses: dict[str, float]


Watcher = Callable[[StepReport], None]


def forward(model: ElasticEncoder, batch: Batch, subnet: SubnetConfig) -> EncoderOutput:
    """One batch through one subnet."""
    output = model(batch.input_ids, batch.attention_mask, batch.token_type_ids, subnet)
    assert isinstance(output, EncoderOutput)
    return output


def fine_tune(
    model: ElasticEncoder, data: Encoded, validation: Encoded, recipe: Recipe, watcher: Watcher
) -> list[float]:
    """Stage 0: the maxnet learns the task from the labels. Ends with its pair merged.

    Returns:
        The validation accuracy after each epoch: whether it has reached its plateau.
    """
    subnet = model.arch.full
    model.begin_stage(recipe.rank, _generator(recipe, stage=0))
    optimizer = _Optimizer(model, recipe, recipe.teacher, steps=_steps(data, recipe, recipe.teacher))
    epoch, curve = _steps(data, recipe, StageRecipe(epochs=1, learning_rate=1)), []
    for step, batch in optimizer.over(_batches(data, recipe, stage=0)):
        model.train()
        loss = F.cross_entropy(forward(model, batch, subnet).logits, batch.labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.move(stage=0, losses=[loss])
        watcher(StepReport(0, step, optimizer.steps, {"maxnet": loss.item()}))
        if step % epoch == 0 or step == optimizer.steps:
            curve.append(evaluate(model, subnet, validation).accuracy)
    model.freeze()
    model.eval()
    return curve


def train_subnets(
    model: ElasticEncoder, space: SearchSpace, data: Encoded, recipe: Recipe, watcher: Watcher, *, stage: int
) -> None:
    """Stage 1 or 2: the maxnet, the minnet and a random subnet of ``space`` learn together."""
    rng = random.Random(f"{recipe.seed}-subnets-{stage}")
    projection = _fit_projection(model, data, recipe, stage)
    model.begin_stage(recipe.rank, _generator(recipe, stage=stage))
    plan = recipe.widths if stage == 1 else recipe.depths
    optimizer = _Optimizer(model, recipe, plan, steps=_steps(data, recipe, plan))
    for step, batch in optimizer.over(_batches(data, recipe, stage)):
        subnets = [space.minnet, space.sample(rng)]
        losses = list(_backward(model, batch, space.maxnet, subnets, recipe, projection))
        optimizer.move(stage=stage, losses=losses)
        named = zip(("maxnet", "minnet", "random"), losses, strict=True)
        watcher(StepReport(stage, step, optimizer.steps, {name: loss.item() for name, loss in named}))
    model.freeze()


def _backward(
    model: ElasticEncoder,
    batch: Batch,
    maxnet: SubnetConfig,
    subnets: list[SubnetConfig],
    recipe: Recipe,
    projection: FeatureProjection,
) -> Iterator[Tensor]:
    """Add up the scaled gradients; yield each subnet's unscaled loss, the maxnet's first."""
    teacher = forward(model, batch, maxnet)
    loss = F.cross_entropy(teacher.logits, batch.labels)
    loss.backward()  # type: ignore[no-untyped-call]
    yield loss.detach()
    target, whole = teacher.logits.detach(), trained_parameters(model.arch, maxnet, recipe.rank).total
    for subnet in subnets:
        student = forward(model, batch, subnet)
        loss = logit_loss(
            student.logits, target, batch.labels, alpha=recipe.alpha, temperature=recipe.temperature
        ) + recipe.beta * projection.loss(student, teacher, subnet, batch.attention_mask)
        part = trained_parameters(model.arch, subnet, recipe.rank).total
        (loss * gradient_scale(whole, part, recipe.gamma)).backward()  # type: ignore[no-untyped-call]
        yield loss.detach()


@torch.no_grad()
def _fit_projection(model: ElasticEncoder, data: Encoded, recipe: Recipe, stage: int) -> FeatureProjection:
    """Principal directions of the maxnet's states on a few training batches."""
    batches = _batches(data, recipe, stage)
    samples: list[list[Tensor]] = [[] for _ in range(model.arch.layers)]
    for _ in range(_PROJECTION_BATCHES):
        batch = next(batches)
        for kept, state in zip(samples, forward(model, batch, model.arch.full).hidden, strict=True):
            kept.append(state[batch.attention_mask.bool()])
    return FeatureProjection([torch.cat(parts) for parts in samples], _PROJECTED)


class _Optimizer:
    """AdamW with linear warm-up and decay, over what the model lets train."""

    def __init__(self, model: ElasticEncoder, recipe: Recipe, plan: StageRecipe, *, steps: int) -> None:
        self.steps = steps
        self._clip = recipe.clip_norm
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        matrices = [p for p in self._parameters if p.ndim > 1]
        vectors = [p for p in self._parameters if p.ndim == 1]
        groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
        self._adamw = torch.optim.AdamW(groups, lr=plan.learning_rate, weight_decay=recipe.weight_decay)
        warm = max(1, round(_WARM_UP * steps))
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._adamw, lambda step: min((step + 1) / warm, (steps - step) / max(1, steps - warm))
        )

    def over(self, batches: Iterator[Batch]) -> Iterator[tuple[int, Batch]]:
        """(step from 1, batch) for as many steps as are planned."""
        for step in range(1, self.steps + 1):
            yield step, next(batches)

    def move(self, *, stage: int, losses: list[Tensor]) -> None:
        """One optimizer step from the gradients so far, which are cleared.

        Raises:
            TrainingError: a loss is no number.
        """
        if not all(math.isfinite(loss.item()) for loss in losses):
            raise TrainingError(f"stage {stage} diverged: a loss is no number; lower the learning rate")
        torch.nn.utils.clip_grad_norm_(self._parameters, self._clip)
        self._adamw.step()
        self._schedule.step()
        self._adamw.zero_grad(set_to_none=True)


def _steps(data: Encoded, recipe: Recipe, plan: StageRecipe) -> int:
    return max(plan.least_steps, round(plan.epochs * len(data.ids) / recipe.batch_size))


def _batches(data: Encoded, recipe: Recipe, stage: int) -> Iterator[Batch]:
    return shuffled_batches(data, recipe.batch_size, random.Random(f"{recipe.seed}-batches-{stage}"))


def _generator(recipe: Recipe, *, stage: int) -> torch.Generator:
    return torch.Generator().manual_seed(recipe.seed * 3 + stage)
