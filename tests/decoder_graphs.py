"""Step graphs of decoders, written into a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgedistill.architecture import Subnet
from edgedistill.exporters.decoder_graph import step_graph
from edgedistill.exporters.decoder_weights import DecoderWeightStore
from edgedistill.exporters.weights import WeightsFile, write_weights
from edgedistill.palette import Precision
from edgedistill.supernet.model import ElasticTransformer


@dataclass(frozen=True)
class Written:
    """Graphs over one weights file, by subnet, and how many of its bytes each refers to."""

    store: DecoderWeightStore
    weights: WeightsFile
    graphs: dict[Subnet, Path]
    weight_bytes: dict[Subnet, int]


def write(model: ElasticTransformer, folder: Path, subnets: Sequence[Subnet], precision: Precision = "fp32") -> Written:
    store = DecoderWeightStore.of(model, precision)
    weights = write_weights(folder, store, subnets)
    graphs, weight_bytes = {}, {}
    for subnet in subnets:
        graph, weight_bytes[subnet] = step_graph(store, subnet, weights)
        graphs[subnet] = folder / f"{subnet.name}-{precision}.onnx"
        graphs[subnet].write_bytes(graph.SerializeToString())
    return Written(store, weights, graphs, weight_bytes)
