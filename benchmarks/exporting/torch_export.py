"""Check our graphs against those of torch's exporter, on random weights of MiniLM-L6's shape.

Claim: for each subnet, the outputs of the two graphs differ by at most 1e-4, over batches, lengths and masks. The
check is independent: the exporter reads a plain torch module (plain_torch.py), which shares no code with
`edgedistill.exporters`. It also times both for one graph.

Needs: onnxscript (`pip install onnxscript`), which EdgeDistill does not need
Takes: about 3 minutes
"""

from __future__ import annotations

import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.exporting.export_time import EPS, random_model
from benchmarks.memory.shared_weights import MODELS, twelve
from benchmarks.shared import output
from benchmarks.shared.plain_torch import PlainEncoder
from edgedistill.architecture import Subnet
from edgedistill.exporters.encoder_graph import encoder_graph, graph_inputs
from edgedistill.exporters.graph_builder import OPSET, OUTPUT
from edgedistill.exporters.weights import EncoderWeightStore, write_weights
from edgedistill.runtime.onnx import create_session
from edgedistill.supernet.model import ElasticTransformer
from edgedistill.supernet.slicing import extents, full_tensors, slice_tensors

_TOLERANCE = 1e-4
_SHAPES = ((1, 1), (1, 17), (5, 128))


def export_by_torch(model: ElasticTransformer, subnet: Subnet, path: Path) -> None:
    """Export the subnet's own tensors as a plain module, with dynamic batch and sequence."""
    arch = model.arch
    module = PlainEncoder(arch, subnet, slice_tensors(full_tensors(model), extents(arch, subnet)), EPS)
    example = tuple(torch.ones((2, 16), dtype=torch.int64) for _ in graph_inputs(arch))
    sizes = {0: torch.export.Dim("batch", min=1, max=4096), 1: torch.export.Dim("sequence", min=1, max=arch.positions)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            example,
            path,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(graph_inputs(arch)),
            output_names=[OUTPUT],
            dynamic_shapes=tuple(sizes for _ in example),
            verbose=False,
        )


def largest_difference(paths: tuple[Path, Path], vocabulary: int) -> float:
    """Compare both graphs' outputs on random ids, with padding behind all rows but the first."""
    rng, sessions = np.random.default_rng(0), [create_session(path, threads=1) for path in paths]
    worst = 0.0
    for batch, length in _SHAPES:
        lengths = np.maximum(1, length - np.arange(batch) * length // (batch + 1))
        feeds: dict[str, NDArray[np.int64]] = {
            "input_ids": rng.integers(0, vocabulary, (batch, length)),
            "attention_mask": (np.arange(length) < lengths[:, None]).astype(np.int64),
            "token_type_ids": rng.integers(0, 2, (batch, length)),
        }
        ours, theirs = (session.run([OUTPUT], feeds)[0] for session in sessions)
        worst = max(worst, float(np.abs(ours - theirs).max()))
    return worst


def main() -> None:
    """Compare all twelve members, and save the figures."""
    model = random_model(MODELS["MiniLM-L6"])
    store, members = EncoderWeightStore.of(model.arch, full_tensors(model), "fp32"), twelve(model.arch)
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        weights = write_weights(Path(scratch), store, members)
        for subnet in members:
            ours, theirs = (Path(scratch) / f"{subnet.name}-{which}.onnx" for which in ("ours", "torch"))
            began = time.perf_counter()
            ours.write_bytes(encoder_graph(store, subnet, weights, eps=EPS)[0].SerializeToString())
            written = time.perf_counter()
            export_by_torch(model, subnet, theirs)
            ended = time.perf_counter()
            rows[subnet.name] = {
                "largest_difference": largest_difference((ours, theirs), model.arch.vocabulary),
                "seconds": round(written - began, 4),
                "seconds_by_torch": round(ended - written, 2),
            }
            output.log(f"{subnet.name}: {rows[subnet.name]}")
            assert rows[subnet.name]["largest_difference"] <= _TOLERANCE
    output.save_result("torch-export", {"members": rows})
