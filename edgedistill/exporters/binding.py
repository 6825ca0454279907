"""Bind a graph to the weights file: tensors as external data, and Slice nodes for what a read cannot cut.

A prefix of rows is a shorter read. A prefix along the second dimension needs a Slice node behind the weight, which
onnxruntime folds when it creates the session, so that running costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import onnx
import torch
from onnx import NodeProto, TensorProto

from edgedistill.exporters.graph_builder import GraphBuilder
from edgedistill.exporters.weights import StoredTensor, WeightsFile

__all__ = ["attach", "read_tensors"]

_DATA_TYPES = {torch.float32: TensorProto.FLOAT, torch.uint8: TensorProto.UINT8}


def attach(
    nodes: list[NodeProto], extents: Mapping[str, tuple[int, ...]], weights: WeightsFile
) -> tuple[list[NodeProto], list[TensorProto], int]:
    """Bind node inputs to the weights file: each tensor that an input names, in the extent that the subnet keeps.

    Returns:
        The nodes with the slices before them, the initializers, and how many of the file's bytes they refer to.
    """
    used = {name for node in nodes for name in node.input}
    read = {name: shape for name, shape in extents.items() if name in used}
    bound = [_bind(name, shape, weights.tensors[name], weights.name) for name, shape in read.items()]
    slices = [(name, shape) for name, shape in read.items() if weights.tensors[name].shape[1:] != shape[1:]]
    cut, constants = _cuts(slices)
    _rename_inputs(nodes, {name: f"{name}.kept" for name, _ in slices})
    ends: dict[int, int] = {}  # tensors that share their bytes are read once
    for name, shape in read.items():
        stored = weights.tensors[name]
        ends[stored.offset] = max(shape[0] * stored.row_bytes, ends.get(stored.offset, 0))
    return [*cut, *nodes], [*constants.values(), *bound], sum(ends.values())


def _rename_inputs(nodes: Iterable[NodeProto], names: Mapping[str, str]) -> None:
    """Replace the names of node inputs by those that ``names`` maps them to."""
    for node in nodes:
        for place, name in enumerate(node.input):
            node.input[place] = names.get(name, name)


def _bind(name: str, shape: tuple[int, ...], stored: StoredTensor, file: str) -> TensorProto:
    """Return an initializer that reads the first rows of a stored tensor, as many as ``shape`` says."""
    data_type = _DATA_TYPES[stored.dtype]
    tensor = TensorProto(name=name, data_type=data_type, dims=[shape[0], *stored.shape[1:]])
    tensor.data_location = TensorProto.EXTERNAL
    place = {"location": file, "offset": stored.offset, "length": shape[0] * stored.row_bytes}
    for key, value in place.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def read_tensors(graph: Path) -> dict[str, StoredTensor]:
    """Return where a written graph reads each tensor, and with how many rows."""
    model = onnx.load(graph, load_external_data=False)
    types = {number: dtype for dtype, number in _DATA_TYPES.items()}
    stored = {}
    for tensor in model.graph.initializer:
        place = {entry.key: entry.value for entry in tensor.external_data}
        if place:
            stored[tensor.name] = StoredTensor(tuple(tensor.dims), int(place["offset"]), types[tensor.data_type])
    return stored


def _cuts(slices: Iterable[tuple[str, tuple[int, ...]]]) -> tuple[list[NodeProto], dict[str, TensorProto]]:
    """Return nodes that slice the second dimension of weights, and the constants that bound the slices."""
    builder = GraphBuilder()
    for name, shape in slices:
        builder.first(name, shape[1], f"{name}.kept", axis=1)
    return builder.nodes, builder.constants
