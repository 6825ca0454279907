"""One super-graph of the tiny encoder serves every test here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest
import tiny_encoder

from edgedistill.exporters.supergraph import export_supergraph
from edgedistill.exporters.surgery import derive, template
from edgedistill.exporters.weights import WeightsFile, write_weights
from edgedistill.subnet import SubnetConfig
from edgedistill.supernet.encoder import ElasticEncoder
from edgedistill.supernet.slicing import full_tensors


@dataclass(frozen=True)
class Exported:
    """A tiny supernet whose graphs can be derived into a folder."""

    model: ElasticEncoder
    base: onnx.ModelProto
    folder: Path
    weights: WeightsFile

    def write(self, subnet: SubnetConfig) -> Path:
        graph, _ = derive(self.base, self.model.arch, subnet, self.weights)
        path = self.folder / f"{subnet.name}.onnx"
        path.write_bytes(graph.SerializeToString())
        return path


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    model = tiny_encoder.encoder()
    model.freeze()
    tensors, arch = full_tensors(model), model.arch
    base = template(export_supergraph(arch, model.eps, tensors), arch)
    folder = tmp_path_factory.mktemp("graphs")
    return Exported(model, base, folder, write_weights(folder, arch, tensors, [arch.full]))
