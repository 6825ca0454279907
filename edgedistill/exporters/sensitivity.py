"""Measure how much score int8 and int4 cost each member, and which parts of the network cause the loss."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgedistill.architecture import Subnet
from edgedistill.data.batches import Encoded
from edgedistill.distillation.evaluation import score_outputs
from edgedistill.exporters.calibration import at_own_thresholds
from edgedistill.exporters.encoder_graph import encoder_graph
from edgedistill.exporters.quality import graph_outputs
from edgedistill.exporters.tensors import exported_tensors
from edgedistill.exporters.weights import EncoderWeightStore, write_weights
from edgedistill.palette import Manifest, Precision
from edgedistill.supernet.checkpoint import Supernet
from edgedistill.tasks import task_of

__all__ = ["MAX_SCORE_LOSS", "PartScore", "losses_in", "parts_that_cost"]

MAX_SCORE_LOSS = 0.01  # of the headline metric: export reports a larger one


@dataclass(frozen=True, slots=True)
class PartScore:
    """Record the score with one part of the network alone in fp32, named by the prefix of its tensors' names."""

    prefix: str
    score: float


def losses_in(manifest: Manifest, precision: Precision) -> dict[str, float]:
    """Return, for each member in this precision, how much lower its validation score is than in fp32."""
    exact = {entry.config: entry.score("validation") for entry in manifest.subnets if entry.precision == "fp32"}
    return {
        entry.name: exact[entry.config] - entry.score("validation")
        for entry in manifest.subnets
        if entry.precision == precision and entry.config in exact
    }


def parts_that_cost(supernet: Supernet, subnet: Subnet, data: Encoded) -> list[PartScore]:
    """Return the embeddings and each kept layer, ordered by the int8 score with that part alone kept in fp32.

    ``data``: validation rows.
    """
    return sorted(_scored(supernet, subnet, data), key=lambda part: -part.score)


def _scored(supernet: Supernet, subnet: Subnet, data: Encoded) -> Iterator[PartScore]:
    arch, tensors, task = supernet.model.arch, exported_tensors(supernet), task_of(supernet.info.task)
    names, reference = supernet.info.labels, supernet.teacher.get("validation")
    for prefix in ("embeddings", *(f"layers.{index}" for index in subnet.kept)):
        with tempfile.TemporaryDirectory() as scratch:
            store = EncoderWeightStore.of(arch, tensors, "int8", (prefix,))
            weights = write_weights(Path(scratch), store, [subnet])
            graph, _ = encoder_graph(store, subnet, weights, eps=supernet.model.eps)
            path = Path(scratch) / "graph.onnx"
            path.write_bytes(graph.SerializeToString())
            outputs = at_own_thresholds(task, graph_outputs(path, data), data, reference)
        yield PartScore(prefix, score_outputs(outputs, data, task, names=names, reference=reference).value)
