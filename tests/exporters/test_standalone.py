"""One file that needs no other, and gives the subnet's answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_encoder
import tiny_supernet

from edgedistill.exporters import standalone
from edgedistill.exporters.checks import largest_difference
from edgedistill.palette import Precision
from edgedistill.supernet.slicing import extents


@pytest.mark.parametrize("table_width", [0, 16])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_file_alone_answers(tmp_path: Path, precision: Precision, table_width: int) -> None:
    arch = replace(tiny_encoder.ARCH, table_width=table_width)
    supernet, subnet = tiny_supernet.supernet(arch), tiny_encoder.SPACE.minnet
    path = tmp_path / "alone.onnx"
    standalone.write_onnx(supernet, subnet, path, precision)
    assert [file.name for file in tmp_path.iterdir()] == ["alone.onnx"]
    difference = largest_difference(path, supernet.model, subnet)
    assert difference < 1e-4 if precision == "fp32" else 1e-4 < difference < 2
    graph = onnx.load(path)
    cut = {node.input[0] for node in graph.graph.node if node.op_type == "Slice"}
    assert not cut & {i.name for i in graph.graph.initializer}
    kept = extents(supernet.model.arch, subnet)
    tables = {name: shape for name, shape in kept.items() if name.startswith("embeddings.") and len(shape) == 2}
    assert {i.name: tuple(i.dims) for i in graph.graph.initializer if i.name in tables} == tables
    stored = sum(np.prod(i.dims) for i in graph.graph.initializer if i.name in kept)
    assert stored == supernet.model.arch.total_parameters(subnet)
