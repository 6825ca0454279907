"""Tiny palettes whose graphs never end: in each run, or while a session is made of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import onnx
import tiny_palette
from onnx import TensorProto, helper
from tiny_palette import WIDTHS

_DEEP = 25  # functions within functions: 2^25 nodes


def looping(folder: Path, members: Iterable[str] = WIDTHS, *, word: str | None = None) -> Path:
    """Let these members of a written palette loop for ever in each run, or where ``word`` is fed first; its path."""
    for name in members:
        model = onnx.load(folder / f"{name}.onnx", load_external_data=False)
        condition, nodes = _condition(word)
        loop = helper.make_node("Loop", ["rounds", condition, "outputs"], ["looped"], body=_body())
        _put_before_the_end(model.graph, [*nodes, loop])
        model.graph.initializer.extend(
            [
                helper.make_tensor("rounds", TensorProto.INT64, [], [2**62]),
                helper.make_tensor("always", TensorProto.BOOL, [], [True]),
                helper.make_tensor("word", TensorProto.INT64, [], [tiny_palette.WORDS.index(word) if word else 0]),
                helper.make_tensor("first_text", TensorProto.INT64, [], [0]),
                helper.make_tensor("first_word", TensorProto.INT64, [], [1]),
            ]
        )
        _replace(folder / f"{name}.onnx", model)
    return tiny_palette.reseal(folder)


def bottomless(folder: Path, members: Iterable[str] = WIDTHS) -> Path:
    """Let onnxruntime inline functions for longer than anyone waits, when it makes a session; the folder's path."""
    for name in members:
        model = onnx.load(folder / f"{name}.onnx", load_external_data=False)
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid("deep", 1)]
        for level in range(_DEEP):
            inner = ("Identity", "") if level == 0 else (f"f{level - 1}", "deep")
            nodes = [helper.make_node(inner[0], [a], [b], domain=inner[1]) for a, b in (("x", "m"), ("m", "y"))]
            model.functions.append(helper.make_function("deep", f"f{level}", ["x"], ["y"], nodes, opsets))
        model.opset_import.append(opsets[1])
        _put_before_the_end(model.graph, [helper.make_node(f"f{_DEEP - 1}", ["outputs"], ["looped"], domain="deep")])
        _replace(folder / f"{name}.onnx", model)
    return tiny_palette.reseal(folder)


def _condition(word: str | None) -> tuple[str, list[onnx.NodeProto]]:
    if word is None:
        return "always", []
    return "is_word", [
        helper.make_node("Gather", ["input_ids", "first_text"], ["ids"], axis=0),
        helper.make_node("Gather", ["ids", "first_word"], ["id"], axis=0),
        helper.make_node("Equal", ["id", "word"], ["is_word"]),
    ]


def _body() -> onnx.GraphProto:
    """Hand on what goes in, and the condition to go on."""
    kinds = {"go_on": TensorProto.BOOL, "value": TensorProto.FLOAT}
    return helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in kinds],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.FLOAT, None),
        ],
        [helper.make_tensor_value_info(f"{name}_out", kind, None) for name, kind in kinds.items()],
    )


def _put_before_the_end(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    end = graph.node.pop()
    end.input[0] = "looped"
    graph.node.extend([*nodes, end])


def _replace(path: Path, model: onnx.ModelProto) -> None:
    """Put it in the file's place: the old one may be mapped."""
    path.with_suffix(".new").write_bytes(model.SerializeToString())
    path.with_suffix(".new").replace(path)
