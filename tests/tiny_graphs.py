"""Write graphs of small encoders into a folder."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from edgedistill.architecture import Subnet
from edgedistill.exporters.encoder_graph import encoder_graph
from edgedistill.exporters.weights import EncoderWeightStore, WeightsFile, write_weights
from edgedistill.supernet.model import ElasticTransformer
from edgedistill.supernet.slicing import full_tensors


@dataclass(frozen=True)
class Exported:
    """A small supernet, its weights file, and the way to write its graphs."""

    model: ElasticTransformer
    folder: Path
    store: EncoderWeightStore
    weights: WeightsFile
    portable: bool = True

    def quantised(self, folder: Path, kept: Collection[str] = ()) -> Exported:
        """The same in int8, over a file of its own."""
        arch = self.model.arch
        store = EncoderWeightStore.of(arch, full_tensors(self.model), "int8", kept)
        return Exported(self.model, folder, store, write_weights(folder, store, [arch.full]))

    def fused(self) -> Exported:
        """The same with attention in one node, as palettes have it."""
        return replace(self, portable=False)

    def graph(self, subnet: Subnet) -> tuple[onnx.ModelProto, int]:
        return encoder_graph(self.store, subnet, self.weights, eps=self.model.eps, portable=self.portable)

    def write(self, subnet: Subnet) -> Path:
        graph, _ = self.graph(subnet)
        path = self.folder / f"{subnet.name}.onnx"
        path.write_bytes(graph.SerializeToString())
        return path


def export(model: ElasticTransformer, folder: Path) -> Exported:
    """Write the model's weights into the folder."""
    model.freeze()
    tensors, arch = full_tensors(model), model.arch
    store = EncoderWeightStore.of(arch, tensors, "fp32")
    return Exported(model, folder, store, write_weights(folder, store, [arch.full]))
