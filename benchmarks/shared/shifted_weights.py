"""Change the weights of a palette's graph, so that another palette gives other answers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx


def stored_tensors(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Return the tensors of a graph that are in a weights file, by name."""
    return {tensor.name: tensor for tensor in model.graph.initializer if tensor.external_data}


def last_numbers(model: onnx.ModelProto, stored: Mapping[str, onnx.TensorProto]) -> tuple[int, int]:
    """Return where the fp32 numbers that a graph uses last start in the weights file, and their bytes."""
    used = [stored[name] for node in model.graph.node for name in node.input if name in stored]
    last = next(tensor for tensor in reversed(used) if tensor.data_type == onnx.TensorProto.FLOAT)
    place = {item.key: item.value for item in last.external_data}
    return int(place["offset"]), int(place["length"])


def with_one_added(content: bytes, start: int, length: int) -> bytes:
    """Return the content of a weights file with the fp32 numbers in these bytes higher by one."""
    numbers = np.frombuffer(content[start : start + length], np.float32)
    return content[:start] + (numbers + np.float32(1)).tobytes() + content[start + length :]
