"""Attention in one node: the same answers whatever the mask, over the same weights, and nothing joined at run time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import tiny_encoder
import torch
from tiny_graphs import Exported

from edgedistill.architecture import LayerShape, Subnet
from edgedistill.exporters.checks import TOLERANCE, check_graph
from edgedistill.runtime.onnx import create_session

UNEQUAL = Subnet((LayerShape(0, 1, 40), LayerShape(2, 3, 7), LayerShape(3, 2, 12)), 16)


@pytest.fixture(scope="module")
def fused(exported: Exported) -> Exported:
    return exported.fused()


@pytest.mark.parametrize("subnet", [*tiny_encoder.SPACE, UNEQUAL], ids=lambda s: s.name)
def test_fused_graphs_agree_with_torch(fused: Exported, subnet: Subnet) -> None:
    assert check_graph(fused.write(subnet), fused.model, subnet) <= TOLERANCE


@torch.no_grad()
def test_tokens_left_out_in_the_middle_are_not_attended_to(fused: Exported) -> None:
    ids, mask, types = tiny_encoder.inputs(3, 20)
    mask[:] = 1
    mask[0, 3:9] = mask[1, ::2] = mask[2, :5] = 0
    session = create_session(fused.write(UNEQUAL), threads=1)
    feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    (found,) = session.run(None, {name: tensor.numpy() for name, tensor in feeds.items()})
    expected = fused.model(ids, mask, types, UNEQUAL).logits
    np.testing.assert_allclose(found, expected.numpy(), atol=TOLERANCE)


def test_a_layer_s_attention_is_one_node_with_its_heads_over_the_same_weights(
    exported: Exported, fused: Exported
) -> None:
    graphs = [graphs.graph(UNEQUAL) for graphs in (exported, fused)]
    assert len({referred for _, referred in graphs}) == 1
    plain, one = (_external(graph) for graph, _ in graphs)
    assert plain == one
    nodes = graphs[1][0].graph.node
    heads = [a.i for node in nodes for a in node.attribute if a.name == "num_heads"]
    assert heads == [1, 3, 2]
    assert not [node for node in nodes if node.op_type == "Softmax"]


def _external(graph: onnx.ModelProto) -> dict[str, dict[str, str]]:
    return {i.name: {p.key: p.value for p in i.external_data} for i in graph.graph.initializer if i.external_data}


def test_weights_are_joined_when_the_session_is_made(fused: Exported, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(fused.write(UNEQUAL), options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(tmp_path / "optimized.onnx", load_external_data=False).graph.node
    assert [node.op_type for node in nodes].count("Attention") == len(UNEQUAL.layers)
    assert "Concat" not in {node.op_type for node in nodes}
