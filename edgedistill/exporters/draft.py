"""A graph that is being written: its nodes in order, and constants."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

__all__ = ["MICROSOFT", "Draft"]

MICROSOFT = "com.microsoft"


class Draft:
    """Nodes and constants; every node is called as its first output is."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}

    def add(self, kind: str, inputs: Sequence[str], *outputs: str, **attributes: Any) -> str:
        """Add an operator of ONNX's main domain; returns its first output."""
        self.nodes.append(helper.make_node(kind, inputs, outputs, outputs[0], **attributes))
        return outputs[0]

    def fuse(self, kind: str, inputs: Sequence[str], *outputs: str, **attributes: Any) -> str:
        """Add an operator of onnxruntime's own; an input or output that is empty is left out."""
        return self.add(kind, inputs, *outputs, domain=MICROSOFT, **attributes)

    def constant(self, values: int | Iterable[int], name: str) -> str:
        """Whole numbers under a name, which the same constant may have had before."""
        array = np.array(values if isinstance(values, int) else list(values), np.int64)
        self.constants[name] = numpy_helper.from_array(array, name)
        return name

    def first(self, x: str, end: int, output: str, *, axis: int = 2) -> str:
        """The first ``end`` entries along one dimension."""
        ends = [self.constant([value], name) for name, value in (("from_0", 0), (f"to_{end}", end))]
        return self.add("Slice", [x, *ends, self.constant([axis], f"axis_{axis}")], output)
