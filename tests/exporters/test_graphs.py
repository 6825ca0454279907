"""Graphs agree with torch for any subnet, and hold no weights of their own."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tiny_encoder
import tiny_graphs

from edgedistill.errors import ExportError
from edgedistill.exporters.checks import TOLERANCE, check_graph
from edgedistill.exporters.weights import EncoderWeightStore, graph_extents, write_weights
from edgedistill.supernet.slicing import full_tensors

ARCH = tiny_encoder.ARCH


@pytest.mark.parametrize("subnet", list(tiny_encoder.SPACE), ids=lambda s: s.name)
def test_every_subnet_of_the_space_agrees_with_torch(exported: Any, subnet: object) -> None:
    """Batches 1 and 5, lengths 1, 17 and 128 with padding; depth, heads, FFN and hidden width."""
    assert check_graph(exported.write(subnet), exported.model, subnet) <= TOLERANCE  # type: ignore[arg-type]


@pytest.mark.slow
def test_two_hundred_random_subnets_of_unequal_layers_agree_with_torch(exported: Any) -> None:
    """Depth, kept layers, and heads and FFN of each layer at random; hidden widths too."""
    rng = random.Random(3)
    for _ in range(200):
        subnet = tiny_encoder.random_subnet(rng)
        assert check_graph(exported.write(subnet), exported.model, subnet) <= TOLERANCE


def test_tensors_that_are_alike_stay_apart(tmp_path: Path) -> None:
    """As norms are before training; here whole layers too."""
    model = tiny_encoder.trainable()
    for layer in model.layers:
        layer.load_state_dict(model.layers[0].state_dict())
        layer.key.load_state_dict(layer.query.state_dict())
    exported = tiny_graphs.export(model, tmp_path)
    for subnet in (ARCH.full, tiny_encoder.SPACE.minnet):
        path = exported.write(subnet)
        assert check_graph(path, model, subnet) <= TOLERANCE
        held = {i.name for i in onnx.load(path, load_external_data=False).graph.initializer}
        assert held >= set(graph_extents(ARCH, subnet))


def test_a_graph_that_disagrees_is_refused(exported: Any) -> None:
    path = exported.write(ARCH.full)
    other = tiny_encoder.encoder(seed=1)
    with pytest.raises(ExportError, match="differs from torch"):
        check_graph(path, other, ARCH.full)


def test_a_graph_holds_no_weights_and_no_notes(exported: Any) -> None:
    graph, _ = exported.graph(tiny_encoder.SPACE.minnet)
    inside = [i for i in graph.graph.initializer if i.data_location != onnx.TensorProto.EXTERNAL]
    assert sum(len(i.raw_data) for i in inside) < 200
    assert not graph.graph.value_info
    assert not any(node.metadata_props or node.doc_string for node in graph.graph.node)
    outside = {i.name for i in graph.graph.initializer} - {i.name for i in inside}
    assert outside == set(graph_extents(ARCH, tiny_encoder.SPACE.minnet))


def test_running_a_cut_graph_does_no_slicing(exported: Any, tmp_path: Path) -> None:
    """onnxruntime folds the Slice nodes of weights when the session is made."""
    graph_path = exported.write(tiny_encoder.SPACE.minnet)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(graph_path, options, providers=["CPUExecutionProvider"])
    optimized = onnx.load(tmp_path / "optimized.onnx", load_external_data=False)
    slices = [node.input[0] for node in optimized.graph.node if node.op_type == "Slice"]
    # What is left cuts rows by the sequence length, and the gathered embeddings.
    assert not [name for name in slices if name in exported.weights.tensors and not name.startswith("embeddings.")]
    assert len(slices) <= 2


def test_the_weights_file_is_the_union_of_what_its_subnets_use(exported: Any, tmp_path: Path) -> None:
    small = tiny_encoder.SPACE.minnet
    tensors = full_tensors(exported.model)
    weights = write_weights(tmp_path, EncoderWeightStore.of(ARCH, tensors, "fp32"), [small])
    assert {name: t.shape for name, t in weights.tensors.items()} == graph_extents(ARCH, small)
    assert all(t.offset % 4096 == 0 for t in weights.tensors.values())
    content = (tmp_path / weights.name).read_bytes()
    stored = weights.tensors["layers.3.ffn_down.weight"]
    values = np.frombuffer(content, np.float32, stored.shape[0] * stored.shape[1], stored.offset).reshape(stored.shape)
    expected = tensors["layers.3.ffn_down.weight"].T[: stored.shape[0], : stored.shape[1]]
    np.testing.assert_array_equal(values, expected.numpy())
