"""Build an ONNX graph: its nodes in order, its constants, and the model around them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

__all__ = ["MICROSOFT", "OPSET", "OUTPUT", "GraphBuilder"]

MICROSOFT = "com.microsoft"
OUTPUT = "logits"
OPSET = 20  # the first with Gelu as one operator
_IR_VERSION = 10  # released with opset 20; older versions of onnxruntime refuse newer ones


class GraphBuilder:
    """Collect nodes and constants; each node is named after its first output."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}

    def add(self, kind: str, inputs: Sequence[str], *outputs: str, **attributes: Any) -> str:
        """Add an operator of ONNX's main domain and return its first output."""
        self.nodes.append(helper.make_node(kind, inputs, outputs, outputs[0], **attributes))
        return outputs[0]

    def fuse(self, kind: str, inputs: Sequence[str], *outputs: str, **attributes: Any) -> str:
        """Add an operator of onnxruntime's own; an empty input or output is left out."""
        return self.add(kind, inputs, *outputs, domain=MICROSOFT, **attributes)

    def constant(self, values: int | Iterable[int], name: str) -> str:
        """Add int64 numbers under a name; the same constant may be added again."""
        return self.array(np.array(values if isinstance(values, int) else list(values), np.int64), name)

    def array(self, values: np.ndarray[Any, Any], name: str) -> str:
        """Add an array of any type under a name; the same constant may be added again."""
        self.constants[name] = numpy_helper.from_array(values, name)
        return name

    def first(self, x: str, end: int, output: str, *, axis: int = 2) -> str:
        """Keep the first ``end`` entries along one dimension."""
        ends = [self.constant([value], name) for name, value in (("from_0", 0), (f"to_{end}", end))]
        return self.add("Slice", [x, *ends, self.constant([axis], f"axis_{axis}")], output)

    def model(
        self,
        name: str,
        inputs: Sequence[ValueInfoProto],
        outputs: Sequence[ValueInfoProto],
        nodes: Sequence[NodeProto],
        weights: Iterable[TensorProto],
    ) -> onnx.ModelProto:
        """Wrap ``nodes`` (this builder's, with their weights attached) into a model with the constants they read."""
        read = {name for node in nodes for name in node.input}
        initializers = {tensor.name: tensor for tensor in (*weights, *self.constants.values()) if tensor.name in read}
        graph = helper.make_graph(nodes, name, inputs, outputs, list(initializers.values()))
        domains = {node.domain for node in nodes}
        opsets = [helper.make_opsetid(domain, 1 if domain else OPSET) for domain in sorted(domains | {""})]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="edgedistill")
