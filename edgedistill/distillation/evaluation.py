"""Score a subnet by torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edgedistill.architecture import Subnet
from edgedistill.data.batches import Batch, Encoded, sorted_batches
from edgedistill.distillation.next_tokens import token_figures
from edgedistill.errors import DataError
from edgedistill.supernet.model import ElasticTransformer
from edgedistill.tasks.task import Task
from edgedistill.tasks.text_generation import TokenFigures

__all__ = ["Score", "collect_outputs", "evaluate", "next_tokens_of", "outputs_of", "score_outputs"]

_BATCH = 64


@dataclass(frozen=True)
class Score:
    """The metrics of a subnet on some rows, the headline first, and its mean loss a unit.

    Of a regression, metrics are in the unit of the labels; the loss is of standardised ones.
    """

    metrics: dict[str, float]
    loss: float

    @property
    def metric(self) -> str:
        """Return the headline's name."""
        return next(iter(self.metrics))

    @property
    def value(self) -> float:
        """Return the headline."""
        return next(iter(self.metrics.values()))


@torch.no_grad()
def outputs_of(model: ElasticTransformer, subnet: Subnet, data: Encoded) -> Tensor:
    """Return the subnet's outputs without dropout: [units of all rows, c] in the rows' order, on the CPU."""
    model.eval()
    device = next(model.parameters()).device

    def run(batch: Batch) -> Tensor:
        here = batch.to(device)
        logits: Tensor = model(here.input_ids, here.attention_mask, here.token_type_ids, subnet).logits
        return logits.float().cpu()

    return collect_outputs(data, run)


def collect_outputs(data: Encoded, run: Callable[[Batch], Tensor]) -> Tensor:
    """Return the outputs of ``run``, batch by batch: [units of all rows, c] in the rows' order, on the CPU."""
    outputs: list[Tensor] = [torch.empty(0)] * len(data)
    for batch in sorted_batches(data, _BATCH):
        parts = torch.split(batch.unit_outputs(run(batch)), [data.units(row) for row in batch.rows])
        for row, part in zip(batch.rows, parts, strict=True):
            outputs[row] = part
    return torch.cat(outputs)


@torch.no_grad()
def next_tokens_of(model: ElasticTransformer, subnet: Subnet, data: Encoded) -> TokenFigures:
    """Return how well the subnet predicts next tokens, without dropout."""
    model.eval()
    device = next(model.parameters()).device

    def run(batch: Batch) -> Tensor:
        return model.logits(batch.input_ids.to(device), batch.attention_mask.to(device), subnet)

    return token_figures(data, model.arch.vocabulary, run)


def evaluate(
    model: ElasticTransformer,
    subnet: Subnet,
    data: Encoded,
    task: Task,
    *,
    names: Sequence[str],
    reference: Tensor | None = None,
) -> Score:
    """Score a subnet by the labels, or where there are none by the teacher; see `score_outputs`."""
    if model.arch.causal:
        figures = next_tokens_of(model, subnet, data)
        return Score(figures.metrics(), figures.loss())
    return score_outputs(outputs_of(model, subnet, data), data, task, names=names, reference=reference)


def score_outputs(
    outputs: Tensor, data: Encoded, task: Task, *, names: Sequence[str], reference: Tensor | None
) -> Score:
    """Score outputs [units of all rows, c], in the rows' order.

    The metrics are by the labels, or where there are none by the teacher's outputs on the same rows,
    ``reference`` [units of all rows, c]. The loss is the distance from the reference where one is given, else
    that from the labels; embeddings, which have none of the latter, lose what their headline lacks of 1.

    Args:
        outputs: of the rows of ``data``.
        data: the rows.
        task: says what is a metric and a loss.
        names: of the classes.
        reference: the teacher's.

    Raises:
        DataError: there are neither labels nor a reference.
    """
    if data.labels is not None:
        metrics = task.metrics(data.in_unit(outputs), data.labels, names)
    elif reference is not None:
        metrics = task.agreements(data.in_unit(outputs), data.in_unit(reference))
    else:
        raise DataError("rows without labels can only be scored against a teacher's outputs; give labelled ones")
    return Score(metrics, _loss(outputs, data, task, metrics, reference))


def _loss(outputs: Tensor, data: Encoded, task: Task, metrics: dict[str, float], reference: Tensor | None) -> float:
    labels = data.unit_labels(range(len(data)))
    if reference is not None:
        return float(task.soft_loss(outputs, reference, 1.0).mean())
    if labels is None or not task.learns_from_labels:
        return 1.0 - metrics[task.headline]
    return float(task.hard_loss(outputs, labels).mean())
