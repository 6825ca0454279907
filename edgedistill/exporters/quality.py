"""Measure the quality of an exported graph on real rows through onnxruntime, with confidence intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from torch import Tensor

from edgedistill.data.batches import Batch, Encoded
from edgedistill.distillation.evaluation import collect_outputs, score_outputs
from edgedistill.exporters.graph_builder import OUTPUT
from edgedistill.palette import Quality
from edgedistill.runtime.onnx import create_session, usable_cores
from edgedistill.tasks.task import Task

__all__ = ["bootstrap", "graph_outputs", "qualities_of"]

_DRAWS = 500  # of the bootstrap: its 95 % interval then moves by about a twentieth of its width


def graph_outputs(graph: Path, data: Encoded) -> Tensor:
    """Run the graph on every row: [units of all rows, c], in the rows' order.

    Outputs of a regression are standardised, as the supernet's are.
    """
    session = create_session(graph, threads=usable_cores())
    inputs = [node.name for node in session.get_inputs()]

    def run(batch: Batch) -> Tensor:
        (outputs,) = session.run([OUTPUT], {name: getattr(batch, name).numpy() for name in inputs})
        return data.standardised(outputs)

    return collect_outputs(data, run)


def qualities_of(
    outputs: Tensor, split: str, data: Encoded, task: Task, *, names: list[str], reference: Tensor | None
) -> list[Quality]:
    """Score outputs [units of all rows, c], the headline first, each with its 95 % confidence interval.

    Intervals are of sampling error: Wilson's for a share of rows, else a percentile bootstrap over examples.
    """
    score = score_outputs(outputs, data, task, names=names, reference=reference)
    if task.headline_is_share:
        examples = len(data)
        wilson = binomtest(round(score.value * examples), examples).proportion_ci(0.95, method="wilson")
        intervals = {score.metric: (float(wilson.low), float(wilson.high))}
    else:
        theirs = None if reference is None else data.in_unit(reference)
        values_of, examples = task.resampled(data.in_unit(outputs), data.labels, names, theirs)
        intervals = bootstrap(values_of, examples, score.metrics)
    return [
        Quality(metric=metric, split=split, value=score.metrics[metric], low=low, high=high, examples=examples)
        for metric, (low, high) in intervals.items()
    ]


def bootstrap(
    values_of: Callable[[NDArray[np.intp]], dict[str, float]], examples: int, values: Mapping[str, float]
) -> dict[str, tuple[float, float]]:
    """Return each metric's 95 % interval by a percentile bootstrap over examples.

    Args:
        values_of: returns the metrics of a sample of examples.
        examples: how many there are to sample from.
        values: the metrics of all; the intervals hold them.
    """
    rng = np.random.default_rng(0)
    drawn = [values_of(rng.integers(0, examples, examples)) for _ in range(_DRAWS)]
    intervals = {}
    for metric in drawn[0]:
        low, high = np.percentile([draw[metric] for draw in drawn], [2.5, 97.5])
        intervals[metric] = min(float(low), values[metric]), max(float(high), values[metric])
    return intervals
