"""Graphs of every family and head agree with torch: with and without token types, whatever the head reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_encoder
import tiny_graphs

from edgedistill.architecture import LayerShape, Subnet
from edgedistill.exporters.checks import TOLERANCE, check_graph
from edgedistill.exporters.encoder_graph import graph_inputs
from edgedistill.runtime.onnx import create_session

SMALL = replace(tiny_encoder.ARCH, layers=2, hidden=16, heads=2, ffn=20, outputs=3)
# BERT's text classification is in test_graphs; a family without token types has another graph for the same head.
KINDS: dict[str, dict[str, Any]] = {
    "bert-mean": {"pooling": "mean", "dense": None},
    "bert-tokens": {"pooling": "each", "dense": None},
    "bert-embedding": {"pooling": "mean", "dense": None, "normalise": True, "outputs": 16},
    "roberta-text": {"token_types": 0},
    "roberta-tokens": {"token_types": 0, "pooling": "each", "dense": None},
    "narrow-tables": {"table_width": 12, "dense": "gelu"},
    "wide-tables": {"table_width": 24, "pooling": "mean", "dense": None},
    "distilbert-text": {"token_types": 0, "dense": "relu"},
    "distilbert-embedding": {"token_types": 0, "pooling": "first", "dense": None, "normalise": True, "outputs": 16},
}
SUBNETS = (
    SMALL.full,
    Subnet.uniform((1,), hidden=8, heads=1, ffn=10),
    Subnet((LayerShape(0, 1, 20), LayerShape(1, 2, 7)), 12),
)


@pytest.mark.parametrize("kind", KINDS)
def test_graphs_of_every_head_agree_with_torch(kind: str, tmp_path: Path) -> None:
    arch = replace(SMALL, model_type=kind.split("-", maxsplit=1)[0], **KINDS[kind])
    exported = tiny_graphs.export(tiny_encoder.encoder(arch), tmp_path)
    for subnet in SUBNETS:
        assert check_graph(exported.fused().write(subnet), exported.model, subnet) <= TOLERANCE
        path = exported.write(subnet)
        assert check_graph(path, exported.model, subnet) <= TOLERANCE
        names = [node.name for node in create_session(path, threads=1).get_inputs()]
        assert names == list(graph_inputs(arch))
        assert ("token_type_ids" in names) == (arch.token_types > 0)
