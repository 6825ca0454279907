"""Compute the losses of one training step: of the subnets that it trains, largest first.

Stage 0 trains the full model on the labels. In stages 1 and 2 a step trains several subnets, as the recipe says:
the maxnet (in every step of the paper's), the minnet (the sandwich rule) and random ones, their gradients scaled
and summed before the optimizer moves.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from edgedistill.architecture import SearchSpace, Subnet
from edgedistill.data.batches import Batch, Encoded, make_batch
from edgedistill.distillation.cost import train_flops
from edgedistill.distillation.losses import FeatureLoss, FeatureProjection, NoFeatures, RelationLoss
from edgedistill.distillation.recipe import Recipe
from edgedistill.distillation.scaling import gradient_scale, trained_parameters
from edgedistill.distillation.teacher import Teacher
from edgedistill.distillation.unit_outputs import UnitOutputs, forward, sum_over_units, unit_outputs_of
from edgedistill.supernet.model import ElasticTransformer
from edgedistill.tasks.task import Task

__all__ = ["FineTuning", "Objective", "Part", "SubnetTraining", "Whole", "feature_loss_for"]

_PROJECTED = 64
_PROJECTION_ROWS = 256


@dataclass(frozen=True)
class Whole:
    """How much a whole step holds, over all parts and processes: what its mean losses are means of."""

    units: int
    tokens: int


@dataclass(frozen=True)
class Part:
    """A subnet's share of a step's loss: its name, the loss, and the factor of its gradient."""

    name: str
    loss: Tensor
    scale: float = 1.0


class Objective(Protocol):
    """A stage's losses."""

    def counts(self, step: int, /) -> Mapping[str, int]:
        """Return how many parts of each name a step has."""

    def parts(self, model: ElasticTransformer, batch: Batch, whole: Whole, step: int, /) -> Iterator[Part]:
        """Yield the losses of ``batch``, a part of the step's ``whole``; each is used before the next is made."""

    def rate(self, model: ElasticTransformer, step: int, /) -> float:
        """Return the factor of the step's learning rate."""

    def flops(self, model: ElasticTransformer, rows: int, tokens: int, step: int, /) -> int:
        """Return the FLOPs of a step on ``rows`` sequences of ``tokens`` tokens."""


class FineTuning:
    """Stage 0: the maxnet learns the task from the labels."""

    def __init__(self, task: Task, recipe: Recipe) -> None:
        self._task, self._rank, self._tables = task, recipe.pair_rank(0), recipe.random_weights

    def counts(self, _step: int, /) -> Mapping[str, int]:
        """Return one part, the maxnet."""
        return {"maxnet": 1}

    def parts(self, model: ElasticTransformer, batch: Batch, whole: Whole, _step: int, /) -> Iterator[Part]:
        """Yield the maxnet's loss alone."""
        maxnet = unit_outputs_of(model, batch, model.arch.full)
        yield Part("maxnet", sum_over_units(self._task.hard_sum, maxnet, None, batch.labels) / whole.units)

    def rate(self, _model: ElasticTransformer, _step: int, /) -> float:
        """Return 1: stage 0 leaves the learning rate as it is."""
        return 1.0

    def flops(self, model: ElasticTransformer, rows: int, tokens: int, _step: int, /) -> int:
        """Return the FLOPs of the maxnet."""
        arch = model.arch
        return train_flops(arch, arch.full, self._rank, rows=rows, tokens=tokens, tables=self._tables)


class SubnetTraining:
    """Stages 1 and 2: subnets of ``space`` learn together.

    The recipe says whether the maxnet trains in every step, and then whether it teaches; else it is one of those
    that are drawn at random, the frozen teacher teaches, and steps are cheaper. Without labels all learn from
    the frozen teacher alone.
    """

    def __init__(
        self,
        task: Task,
        space: SearchSpace,
        recipe: Recipe,
        features: FeatureLoss,
        teacher: Teacher | None,
        stage: int,
    ) -> None:
        self._task, self._space, self._recipe = task, space, recipe
        self._features, self._teacher, self._stage = features, teacher, stage
        self._rank = recipe.pair_rank(stage)

    def subnets(self, step: int) -> list[tuple[str, Subnet]]:
        """Return the subnets of a step beside the maxnet: a function of the seed and the step alone."""
        rng = random.Random(f"{self._recipe.seed}-subnets-{self._stage}-{step}")
        chosen = [("minnet", self._space.minnet)] if self._recipe.minnet else []
        chosen += [("random", self._space.sample(rng)) for _ in range(self._recipe.random_subnets)]
        return [chosen[(step - 1) % len(chosen)]] if self._recipe.alternate else chosen

    def counts(self, step: int, /) -> Mapping[str, int]:
        """Count the maxnet where it trains, and the step's subnets."""
        names = ["maxnet"] if self._recipe.maxnet else []
        return Counter(names + [name for name, _ in self.subnets(step)])

    def parts(self, model: ElasticTransformer, batch: Batch, whole: Whole, step: int, /) -> Iterator[Part]:
        """Yield the losses, the maxnet's first where it trains."""
        frozen = self._teacher.outputs(batch) if self._teacher is not None else None
        maxnet = None
        if self._recipe.maxnet:
            maxnet = unit_outputs_of(model, batch, self._space.maxnet)
            yield Part("maxnet", self._maxnet_loss(maxnet, frozen, batch) / whole.units)
            frozen = maxnet.detached() if frozen is None else frozen
        assert frozen is not None
        for name, subnet in self.subnets(step):
            student = unit_outputs_of(model, batch, subnet)
            loss = self._output_loss(student, frozen, batch) / whole.units
            if maxnet is not None and maxnet.output and student.output and self._recipe.beta:
                features = self._features(student.output, maxnet.output, subnet, batch.attention_mask)
                loss = loss + self._recipe.beta * features / whole.tokens
            yield Part(name, loss, 1.0 if self._recipe.alternate else self._scale(model, subnet))

    def rate(self, model: ElasticTransformer, step: int, /) -> float:
        """Return (n₁/n_j)^γ where a step has one subnet: Adam would undo it in the gradient; else it is there."""
        return self._scale(model, self.subnets(step)[0][1]) if self._recipe.alternate else 1.0

    def _scale(self, model: ElasticTransformer, subnet: Subnet) -> float:
        most, part = (trained_parameters(model.arch, s, self._rank).total for s in (self._space.maxnet, subnet))
        return gradient_scale(most, part, self._recipe.gamma)

    def _maxnet_loss(self, maxnet: UnitOutputs, frozen: UnitOutputs | None, batch: Batch) -> Tensor:
        if frozen is None:
            return sum_over_units(self._task.hard_sum, maxnet, None, batch.labels)
        return self._output_loss(maxnet, frozen, batch)

    def _output_loss(self, student: UnitOutputs, target: UnitOutputs, batch: Batch) -> Tensor:
        """Return (1 − α)·labels + α·teacher (§3 of the paper); without labels the teacher alone."""
        alpha = 1.0 if batch.labels is None else self._recipe.alpha
        mixed = self._task.mixed_sum(alpha, self._recipe.temperature)
        return sum_over_units(mixed, student, target if alpha else None, batch.labels)

    def flops(self, model: ElasticTransformer, rows: int, tokens: int, step: int, /) -> int:
        """Return the FLOPs of all that train, and of a teacher that runs in every step."""
        chosen = [self._space.maxnet] if self._recipe.maxnet else []
        chosen += [subnet for _, subnet in self.subnets(step)]
        teacher = 0 if self._teacher is None else self._teacher.flops(rows, tokens)
        return teacher + sum(train_flops(model.arch, subnet, self._rank, rows=rows, tokens=tokens) for subnet in chosen)


@torch.no_grad()
def feature_loss_for(model: ElasticTransformer, space: SearchSpace, data: Encoded, recipe: Recipe) -> FeatureLoss:
    """Return the recipe's feature loss, projections fitted to the maxnet as it is now."""
    if recipe.features == "none" or recipe.beta == 0:
        return NoFeatures()
    if recipe.features == "relations":
        return RelationLoss(math.gcd(*space.heads))
    rows = random.Random(f"{recipe.seed}-projections").sample(range(len(data)), min(_PROJECTION_ROWS, len(data)))
    device = next(model.parameters()).device
    batches: Iterable[Batch] = (make_batch(data, rows[i : i + 32]).to(device) for i in range(0, len(rows), 32))
    samples: list[list[Tensor]] = [[] for _ in range(model.arch.layers)]
    for batch in batches:
        for sample, state in zip(samples, forward(model, batch, model.arch.full).hidden, strict=True):
            sample.append(state[batch.attention_mask.bool()])
    return FeatureProjection.fit([torch.cat(parts) for parts in samples], min(_PROJECTED, model.arch.hidden))
