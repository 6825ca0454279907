"""Tiny palettes some of whose members answer with numbers that are not finite, as overwritten weights do."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import onnx
import tiny_palette
from onnx import TensorProto, helper


def poisoned(folder: Path, members: Iterable[str], *, number: float = float("nan"), word: str | None = None) -> Path:
    """Add ``number`` to all outputs of these members of a written palette, or only to rows with ``word``; its path."""
    for name in members:
        path = folder / f"{name}.onnx"
        model = onnx.load(path, load_external_data=False)
        graph = model.graph
        last = len(graph.node) - 1
        graph.node[last].input[0] = "bad"
        for node in reversed(_nodes(len(graph.output[0].type.tensor_type.shape.dim), word)):
            graph.node.insert(last, node)
        graph.initializer.extend(
            [
                helper.make_tensor("poison", TensorProto.FLOAT, [1], [number]),
                helper.make_tensor("none", TensorProto.FLOAT, [1], [0.0]),
                helper.make_tensor("word", TensorProto.INT64, [1], [tiny_palette.WORDS.index(word) if word else 0]),
                helper.make_tensor("tokens_axis", TensorProto.INT64, [1], [1]),
            ]
        )
        path.write_bytes(model.SerializeToString())
    return tiny_palette.reseal(folder)


def _nodes(dimensions: int, word: str | None) -> list[onnx.NodeProto]:
    if word is None:
        return [helper.make_node("Add", ["outputs", "poison"], ["bad"])]
    shape = helper.make_node("Unsqueeze", ["by_row", "tokens_axis"], ["by_text"])
    return [
        helper.make_node("Equal", ["input_ids", "word"], ["is_word"]),
        helper.make_node("Cast", ["is_word"], ["hits"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["hits", "tokens_axis"], ["by_row"], keepdims=1),
        shape if dimensions == 3 else helper.make_node("Identity", ["by_row"], ["by_text"]),
        helper.make_node("Cast", ["by_text"], ["is_hit"], to=TensorProto.BOOL),
        helper.make_node("Where", ["is_hit", "poison", "none"], ["addend"]),
        helper.make_node("Add", ["outputs", "addend"], ["bad"]),
    ]
