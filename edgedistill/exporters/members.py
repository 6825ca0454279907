"""Export the members of a palette of encoders: write, check and score each one's graph."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgedistill.architecture import Subnet
from edgedistill.data.batches import Batch, Encoded, make_batch
from edgedistill.distillation.mlfs import EncodedData
from edgedistill.exporters.calibration import Calibrator
from edgedistill.exporters.changes import unchanged_entries
from edgedistill.exporters.checks import check_graph, check_valid
from edgedistill.exporters.encoder_graph import encoder_graph, graph_inputs, output_shape
from edgedistill.exporters.export_folder import put
from edgedistill.exporters.graph_builder import OUTPUT
from edgedistill.exporters.mixing import distinct_rows, measure_mixing
from edgedistill.exporters.quality import graph_outputs, qualities_of
from edgedistill.exporters.tensors import exported_tensors
from edgedistill.exporters.weights import EncoderWeightStore, WeightsFile
from edgedistill.palette import Calibration, Layer, Palette, Precision, Probes, Quality, SubnetEntry, TensorSpec
from edgedistill.runtime.onnx import create_session
from edgedistill.supernet.checkpoint import Supernet
from edgedistill.tasks import task_of

__all__ = ["MAC_TOKENS", "SCORED", "EncoderMembers", "member_name", "put_graph"]

MAC_TOKENS = 64
SCORED = ("validation", "test")
_MIXED_SPLIT = "validation"
_PROBED_ROWS = 4


def member_name(subnet: Subnet, precision: Precision) -> str:
    """Return the subnet's name in a palette, which states any precision but fp32."""
    return subnet.name if precision == "fp32" else f"{subnet.name}-{precision}"


def put_graph(graph: onnx.ModelProto, subnet: Subnet, precision: Precision, folder: Path) -> Path:
    """Write a member's graph under a name of its content, and return its path."""
    content = graph.SerializeToString(deterministic=True)
    path = folder / f"{subnet.name}-{precision}-{hashlib.sha256(content).hexdigest()[:12]}.onnx"
    put(path, content)
    return path


class EncoderMembers:
    """Hold what every member's export needs, and what the members of one palette are measured by together.

    Args:
        supernet: of an encoder.
        data: the rows that quality is measured on.
        out_of_scope: rows that a classifier should reject.
    """

    def __init__(self, supernet: Supernet, data: EncodedData, out_of_scope: Encoded | None) -> None:
        self._supernet, self._data = supernet, data
        self._task = task_of(supernet.info.task)
        self._tensors = exported_tensors(supernet)
        self._vectors: dict[str, NDArray[np.float32]] = {}
        self._calibrator: Calibrator | None = None
        if self._task.is_calibrated:
            self._calibrator = Calibrator(self._task, data, supernet.teacher, out_of_scope)

    def unchanged_entries(self, palette: Palette, largest: Subnet) -> dict[str, SubnetEntry]:
        """Return the palette's entries that stay valid, by their graph's name: see `changes.unchanged_entries`."""
        return unchanged_entries(palette, self._supernet, largest, self._calibrator)

    def weight_store(self, precision: Precision, keep_fp32: Collection[str]) -> EncoderWeightStore:
        """Return what graphs of this precision may hold."""
        return EncoderWeightStore.of(self._supernet.model.arch, self._tensors, precision, keep_fp32)

    def export(
        self,
        store: EncoderWeightStore,
        weights: WeightsFile,
        subnet: Subnet,
        folder: Path,
        unchanged: Mapping[str, SubnetEntry],
    ) -> SubnetEntry:
        """Write the graph into ``folder``; check and score it, unless ``unchanged`` has its entry by its name.

        Raises:
            ExportError: it disagrees with torch, or is not a valid graph.
        """
        model, precision = self._supernet.model, store.precision
        graph, weight_bytes = encoder_graph(store, subnet, weights, eps=model.eps)
        path = put_graph(graph, subnet, precision, folder)
        if path.name in unchanged:
            return unchanged[path.name]
        if precision == "fp32":
            check_graph(path, model, subnet, self._supernet.info.label_scale)
        else:
            check_valid(path, model)
        outputs = {split: graph_outputs(path, getattr(self._data, split)) for split in SCORED}
        name, calibration = member_name(subnet, precision), self._calibration(path, outputs)
        decided = {split: self._decided(outputs[split], calibration) for split in SCORED}
        return SubnetEntry(
            name=name,
            quantization=store.quantization,
            graph=path.name,
            weights=weights.name,
            layers=[Layer(index=la.index, heads=la.heads, ffn=la.ffn) for la in subnet.layers],
            hidden=subnet.hidden,
            layer_parameters=model.arch.layer_parameters(subnet),
            total_parameters=model.arch.total_parameters(subnet),
            macs=model.arch.macs(subnet, tokens=MAC_TOKENS),
            attention_macs=model.arch.attention_macs(subnet, tokens=MAC_TOKENS),
            size_mb=round((path.stat().st_size + weight_bytes) / 1e6, 3),
            quality=[quality for split in SCORED for quality in self._qualities(name, decided[split], split)],
            calibration=calibration,
        )

    def _qualities(self, name: str, outputs: Tensor, split: str) -> list[Quality]:
        info, data = self._supernet.info, getattr(self._data, split)
        if self._task.embeds and split == _MIXED_SPLIT:
            self._vectors[name] = outputs[distinct_rows(data)].numpy()
        reference = self._supernet.teacher.get(split)
        return qualities_of(outputs, split, data, self._task, names=info.labels, reference=reference)

    def _decided(self, outputs: Tensor, calibration: Calibration | None) -> Tensor:
        """Return outputs as the runtime decides by them: at the member's thresholds, where it has any."""
        if calibration is None or calibration.thresholds is None:
            return outputs
        logits = outputs.numpy().astype(np.float64)
        decided = self._task.at_thresholds(logits, calibration.temperature, calibration.thresholds)
        return torch.from_numpy(decided).float()

    def _calibration(self, graph: Path, outputs: Mapping[str, Tensor]) -> Calibration | None:
        if self._calibrator is None:
            return None
        matched = [graph_outputs(graph, rows) for rows in self._calibrator.matched]
        return self._calibrator.measure(outputs["validation"], outputs["test"], matched)

    def probes(self, entries: Sequence[SubnetEntry], folder: Path) -> Probes:
        """Return the first rows of validation, usually of different lengths, and each member's answers to them."""
        rows = range(min(_PROBED_ROWS, len(self._data.validation)))
        batch = make_batch(self._data.validation, rows)
        names = ("input_ids", "attention_mask", "token_type_ids")
        answers = {entry.name: _answers(folder / entry.graph, batch) for entry in entries}
        return Probes(inputs={name: getattr(batch, name).tolist() for name in names}, answers=answers)

    def manifest_fields(self) -> dict[str, Any]:
        """Return what a manifest states of all members."""
        arch = self._supernet.model.arch
        return {
            "graph_inputs": [
                TensorSpec(name=name, dtype="int64", shape=["batch", "sequence"]) for name in graph_inputs(arch)
            ],
            "graph_outputs": [TensorSpec(name=OUTPUT, dtype="float32", shape=output_shape(arch))],
            "mixing": measure_mixing(self._vectors, _MIXED_SPLIT) if self._vectors else None,
            "out_of_scope": None if self._calibrator is None else self._calibrator.recorded(),
        }


def _answers(graph: Path, batch: Batch) -> list[float]:
    session = create_session(graph, threads=1)
    feeds = {node.name: getattr(batch, node.name).numpy() for node in session.get_inputs()}
    (outputs,) = session.run([OUTPUT], feeds)
    return [float(f"{value:.9g}") for value in outputs.ravel()]  # all digits of fp32, whatever the unit
