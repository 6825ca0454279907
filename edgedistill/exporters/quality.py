"""Quality of an exported graph: what it answers on real rows, through onnxruntime, with its uncertainty."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binomtest
from torch import Tensor

from edgedistill.distillation.batches import Batch, Encoded
from edgedistill.distillation.evaluation import answers_to, score_outputs
from edgedistill.distillation.tasks import Task
from edgedistill.exporters.graph_builder import OUTPUT
from edgedistill.manifest import Quality
from edgedistill.runtime.onnx import create_session, usable_cores

__all__ = ["bootstrap", "graph_outputs", "quality_of"]

_DRAWS = 500  # of the bootstrap: its 95 % interval then moves by about a twentieth of its width


def graph_outputs(graph: Path, data: Encoded, task: Task) -> Tensor:
    """What the graph answers to every row: [units of all rows, c], in the rows' order."""
    session = create_session(graph, threads=usable_cores())
    inputs = [node.name for node in session.get_inputs()]

    def run(batch: Batch) -> Tensor:
        (outputs,) = session.run([OUTPUT], {name: getattr(batch, name).numpy() for name in inputs})
        return torch.from_numpy(outputs)

    return answers_to(data, task, run)


def quality_of(
    outputs: Tensor, split: str, data: Encoded, task: Task, *, names: list[str], reference: Tensor | None
) -> Quality:
    """The headline of outputs [units of all rows, c], with the 95 % interval of its sampling error.

    Wilson's where it is a share of rows, else a percentile bootstrap over examples.
    """
    score = score_outputs(outputs, data, task, names=names, reference=reference)
    if task.name == "text-classification":
        examples = len(data)
        interval = binomtest(round(score.value * examples), examples).proportion_ci(0.95, method="wilson")
        low, high = float(interval.low), float(interval.high)
    else:
        given = None if reference is None else reference.numpy()
        value_of, examples = task.redrawn(outputs.numpy(), data.labels, names, given)
        low, high = bootstrap(value_of, examples, score.value)
    return Quality(metric=score.metric, split=split, value=score.value, low=low, high=high, examples=examples)


def bootstrap(value_of: Callable[[NDArray[np.intp]], float], examples: int, value: float) -> tuple[float, float]:
    """The percentile bootstrap's 95 % interval of a ``value``, from that of any choice of examples."""
    rng = np.random.default_rng(0)
    values = [value_of(rng.integers(0, examples, examples)) for _ in range(_DRAWS)]
    low, high = np.percentile(values, [2.5, 97.5])
    return min(float(low), value), max(float(high), value)
