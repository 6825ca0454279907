"""One member of a palette: its graph, written and checked, and what it scores."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import Tensor

from edgedistill.distillation.mlfs import EncodedData
from edgedistill.distillation.tasks import Task
from edgedistill.exporters.attention import fused_template
from edgedistill.exporters.calibration import Calibrator
from edgedistill.exporters.checks import check_graph, check_valid
from edgedistill.exporters.files import put
from edgedistill.exporters.mixing import distinct_rows
from edgedistill.exporters.quality import graph_outputs, quality_of
from edgedistill.exporters.quantization import quantised_template
from edgedistill.exporters.surgery import derive
from edgedistill.exporters.weights import Stock, WeightsFile
from edgedistill.manifest import Calibration, Layer, Precision, Quality, SubnetEntry
from edgedistill.subnet import SubnetConfig
from edgedistill.supernet.checkpoint import Supernet

__all__ = ["MIXED_SPLIT", "Source", "export_member", "member_name", "member_template"]

MIXED_SPLIT = "validation"
_MAC_TOKENS = 64
_SCORED = ("validation", "test")


@dataclass(frozen=True)
class Source:
    """What every member's export in one precision needs.

    ``vectors`` collects those of a sentence encoder's members; ``calibrator`` is a classifier's. ``known``: entries by
    their graph's name that still hold, if the graph comes out the same.
    """

    supernet: Supernet
    data: EncodedData
    base: onnx.ModelProto
    stock: Stock
    weights: WeightsFile
    task: Task
    vectors: dict[str, NDArray[np.float32]]
    calibrator: Calibrator | None
    known: Mapping[str, SubnetEntry]


def member_name(subnet: SubnetConfig, precision: Precision) -> str:
    """The subnet's name in a palette: another precision than fp32 is a part of it."""
    return subnet.name if precision == "fp32" else f"{subnet.name}-{precision}"


def member_template(base: onnx.ModelProto, stock: Stock) -> onnx.ModelProto:
    """What the graphs of the stock's precision are derived from, ``base`` being the plain template."""
    return quantised_template(base, stock.whole) if stock.whole else fused_template(base, stock.arch)


def export_member(source: Source, subnet: SubnetConfig, folder: Path) -> SubnetEntry:
    """Write the graph into ``folder``; check and score it, unless it is known.

    Raises:
        ExportError: it disagrees with torch, or is no valid graph.
    """
    arch, precision = source.supernet.model.arch, source.stock.precision
    name = member_name(subnet, precision)
    graph, weight_bytes = derive(source.base, source.stock, subnet, source.weights)
    content = graph.SerializeToString(deterministic=True)
    path = folder / f"{subnet.name}-{precision}-{hashlib.sha256(content).hexdigest()[:12]}.onnx"
    put(path, content)
    if path.name in source.known:
        return source.known[path.name]
    if precision == "fp32":
        check_graph(path, source.supernet.model, subnet)
    else:
        check_valid(path, source.supernet.model)
    outputs = {split: graph_outputs(path, getattr(source.data, split), source.task) for split in _SCORED}
    return SubnetEntry(
        name=name,
        precision=precision,
        graph=path.name,
        weights=source.weights.name,
        layers=[Layer(index=la.index, heads=la.heads, ffn=la.ffn) for la in subnet.layers],
        hidden=subnet.hidden,
        layer_parameters=arch.layer_parameters(subnet),
        total_parameters=arch.total_parameters(subnet),
        macs=arch.macs(subnet, tokens=_MAC_TOKENS),
        size_mb=round((len(content) + weight_bytes) / 1e6, 3),
        quality=[_quality(source, name, outputs[split], split) for split in _SCORED],
        calibration=_calibration(source, path, outputs),
    )


def _quality(source: Source, name: str, outputs: Tensor, split: str) -> Quality:
    supernet, task, data = source.supernet, source.task, getattr(source.data, split)
    if task.name == "sentence-embedding" and split == MIXED_SPLIT:
        source.vectors[name] = outputs[distinct_rows(data)].numpy()
    reference = supernet.teacher.get(split)
    return quality_of(outputs, split, data, task, names=supernet.info.labels, reference=reference)


def _calibration(source: Source, graph: Path, outputs: Mapping[str, Tensor]) -> Calibration | None:
    if source.calibrator is None:
        return None
    matched = [graph_outputs(graph, rows, source.task) for rows in source.calibrator.matched]
    return source.calibrator.measure(outputs["validation"], outputs["test"], matched)
