"""Write a subnet as one self-contained ONNX file in standard ONNX operators, for other runtimes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import onnx
from torch import Tensor

from edgedistill.architecture import Architecture, Subnet
from edgedistill.exporters.checks import check_graph, check_valid
from edgedistill.exporters.encoder_graph import encoder_graph
from edgedistill.exporters.tensors import exported_tensors
from edgedistill.exporters.weights import EncoderWeightStore, write_weights
from edgedistill.palette import Precision
from edgedistill.places import install, scratch_folder
from edgedistill.supernet.checkpoint import Supernet

__all__ = ["write_onnx"]


def write_onnx(supernet: Supernet, subnet: Subnet, path: Path, precision: Precision = "fp32") -> None:
    """Write the subnet's graph with its weights inside, checked as a palette's are, in the place of ``path`` at once.

    Raises:
        ExportError: the graph fails its check.
        InputError: another command is writing to ``path``.
    """
    arch, tensors = _at_width(supernet.model.arch, exported_tensors(supernet), subnet.hidden)
    store = EncoderWeightStore.of(arch, tensors, precision)
    with scratch_folder(path) as scratch:
        # The weights file holds this subnet's slices alone, so that none is left to be cut by the graph.
        weights = write_weights(scratch, store, [subnet])
        graph, _ = encoder_graph(store, subnet, weights, eps=supernet.model.eps, portable=True)
        onnx.load_external_data_for_model(graph, str(scratch))
        whole = scratch / path.name
        onnx.save(graph, whole)
        if precision == "fp32":
            check_graph(whole, supernet.model, subnet, supernet.info.label_scale)
        else:
            check_valid(whole, supernet.model)
        install(whole, path)


def _at_width(arch: Architecture, tensors: Mapping[str, Tensor], hidden: int) -> tuple[Architecture, dict[str, Tensor]]:
    """Cut embedding tables to the subnet's width; a palette keeps them whole, since all members share them."""
    if arch.table_width:  # and no subnet cuts them
        return arch, dict(tensors)
    cut = {
        name: tensor[:, :hidden] if name.startswith("embeddings.") and tensor.ndim == 2 else tensor
        for name, tensor in tensors.items()
    }
    return replace(arch, hidden=hidden), cut
