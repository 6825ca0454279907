"""Graphs of small encoders, derived into a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx

from edgedistill.exporters.supergraph import export_supergraph
from edgedistill.exporters.surgery import derive, template
from edgedistill.exporters.weights import WeightsFile, write_weights
from edgedistill.subnet import SubnetConfig
from edgedistill.supernet.encoder import ElasticEncoder
from edgedistill.supernet.slicing import full_tensors


@dataclass(frozen=True)
class Exported:
    """A small supernet whose graphs can be derived into a folder."""

    model: ElasticEncoder
    base: onnx.ModelProto
    folder: Path
    weights: WeightsFile

    def write(self, subnet: SubnetConfig) -> Path:
        graph, _ = derive(self.base, self.model.arch, subnet, self.weights)
        path = self.folder / f"{subnet.name}.onnx"
        path.write_bytes(graph.SerializeToString())
        return path


def export(model: ElasticEncoder, folder: Path) -> Exported:
    """The model's super-graph, and its weights in the folder."""
    model.freeze()
    tensors, arch = full_tensors(model), model.arch
    base = template(export_supergraph(arch, model.eps, tensors), arch)
    return Exported(model, base, folder, write_weights(folder, arch, tensors, [arch.full]))
