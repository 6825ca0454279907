"""Quality of an exported graph: what it answers on real rows, through onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score

from edgedistill.distillation.batches import Encoded, sorted_batches
from edgedistill.exporters.supergraph import INPUTS, OUTPUT
from edgedistill.manifest import Quality
from edgedistill.runtime.onnx import create_session, usable_cores

__all__ = ["accuracy_of", "measure_accuracy"]

_BATCH = 32


def measure_accuracy(graph: Path, split: str, data: Encoded) -> Quality:
    """Accuracy of the graph's answers on every row of ``data``."""
    session = create_session(graph, threads=usable_cores())
    predicted: list[int] = []
    wanted: list[int] = []
    for batch in sorted_batches(data, _BATCH):
        feeds = {name: getattr(batch, name).numpy() for name in INPUTS}
        (logits,) = session.run([OUTPUT], feeds)
        predicted += np.argmax(logits, -1).tolist()
        wanted += batch.labels.tolist()
    return accuracy_of(float(accuracy_score(wanted, predicted)), split, len(wanted))


def accuracy_of(value: float, split: str, examples: int) -> Quality:
    """An accuracy with its 95 % Wilson interval."""
    interval = binomtest(round(value * examples), examples).proportion_ci(0.95, method="wilson")
    return Quality(
        metric="accuracy",
        split=split,
        value=value,
        low=float(interval.low),
        high=float(interval.high),
        examples=examples,
    )
