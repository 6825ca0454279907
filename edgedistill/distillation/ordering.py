"""Decide at the end of stage 0, on validation data, what each narrow or shallow subnet keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from edgedistill.architecture import Architecture, SearchSpace, Subnet
from edgedistill.data.batches import Batch, Encoded, sorted_batches
from edgedistill.distillation.evaluation import evaluate
from edgedistill.distillation.recipe import Recipe
from edgedistill.distillation.seeds import seed_of
from edgedistill.distillation.unit_outputs import sum_over_units, unit_outputs_of
from edgedistill.supernet.importance import nested_layers, order_hidden, rewire, score_hidden, score_units
from edgedistill.supernet.model import ElasticTransformer
from edgedistill.tasks.task import Task

__all__ = ["put_in_order"]

_SCORED_BATCH = 16


def put_in_order(
    model: ElasticTransformer,
    data: Encoded,
    task: Task,
    recipe: Recipe,
    *,
    names: Sequence[str],
    reference: Tensor | None,
) -> SearchSpace:
    """Permute the model, which still computes the same, and name the layers of each depth.

    Args:
        model: as stage 0 left it.
        data: validation rows.
        task: says what a loss is.
        recipe: the order, and which widths and depths there are.
        names: of the classes.
        reference: the model's own outputs on the rows, where these have no labels.
    """
    arch = model.arch
    if recipe.order == "importance":
        losses = _losses(model, data, task, recipe)

        def loss_of(subnet: Subnet) -> float:
            return evaluate(model, subnet, data, task, names=names, reference=reference).loss

        rewire(model, score_units(model, losses()))
        if min(recipe.hidden(arch)) < arch.hidden:
            order_hidden(model, score_hidden(model, losses()))
        layers = nested_layers(model, recipe.depth(arch), loss_of)
    else:
        layers = tuple(_evenly(arch, depth) for depth in recipe.depth(arch))
    return SearchSpace(layers, recipe.hidden(arch), recipe.heads(arch), recipe.ffn(arch))


def _evenly(arch: Architecture, depth: int) -> tuple[int, ...]:
    """Return ``depth`` layers at equal distances, the last among them."""
    return tuple(sorted({round((place + 1) * arch.layers / depth) - 1 for place in range(depth)}))


def _losses(
    model: ElasticTransformer, data: Encoded, task: Task, recipe: Recipe
) -> Callable[[], list[Callable[[], Tensor]]]:
    """Return the maxnet's loss on each batch of the rows, whose gradients show what matters."""
    device = next(model.parameters()).device
    noise = torch.Generator().manual_seed(seed_of(recipe.seed, "importance"))

    def loss(batch: Batch) -> Tensor:
        maxnet = unit_outputs_of(model, batch, model.arch.full)
        if batch.labels is not None and task.learns_from_labels:
            return sum_over_units(task.hard_sum, maxnet, None, batch.labels) / len(batch.labels)
        # Without labels: how much the outputs move, seen from a random direction.
        outputs = maxnet.states
        return (outputs * torch.randn(outputs.shape, generator=noise).to(device)).sum(-1).mean()

    def batches() -> list[Callable[[], Tensor]]:
        return [partial(loss, batch.to(device)) for batch in sorted_batches(data, _SCORED_BATCH)]

    return batches
