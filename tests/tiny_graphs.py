"""Graphs of small encoders, derived into a folder."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from edgedistill.exporters.attention import fused_template
from edgedistill.exporters.quantization import quantised_template
from edgedistill.exporters.supergraph import export_supergraph
from edgedistill.exporters.surgery import derive, template
from edgedistill.exporters.weights import Stock, WeightsFile, write_weights
from edgedistill.subnet import SubnetConfig
from edgedistill.supernet.encoder import ElasticEncoder
from edgedistill.supernet.slicing import full_tensors


@dataclass(frozen=True)
class Exported:
    """A small supernet whose graphs can be derived into a folder."""

    model: ElasticEncoder
    base: onnx.ModelProto
    folder: Path
    stock: Stock
    weights: WeightsFile

    def quantised(self, folder: Path, kept: Collection[str] = ()) -> Exported:
        """The same in int8, over a file of its own."""
        arch = self.model.arch
        stock = Stock.of(arch, full_tensors(self.model), "int8", kept)
        base = quantised_template(self.base, stock.whole)
        return Exported(self.model, base, folder, stock, write_weights(folder, stock, [arch.full]))

    def fused(self) -> Exported:
        """The same with attention in one node, as palettes have it."""
        return replace(self, base=fused_template(self.base, self.model.arch))

    def write(self, subnet: SubnetConfig) -> Path:
        graph, _ = derive(self.base, self.stock, subnet, self.weights)
        path = self.folder / f"{subnet.name}.onnx"
        path.write_bytes(graph.SerializeToString())
        return path


def export(model: ElasticEncoder, folder: Path) -> Exported:
    """The model's super-graph, and its weights in the folder."""
    model.freeze()
    tensors, arch = full_tensors(model), model.arch
    base = template(export_supergraph(arch, model.eps), arch)
    stock = Stock.of(arch, tensors, "fp32")
    return Exported(model, base, folder, stock, write_weights(folder, stock, [arch.full]))
