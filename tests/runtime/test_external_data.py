"""What a graph may read its weights from: the file that the manifest's hash covers, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import tiny_palette
from onnx import TensorProto, helper

from edgedistill.errors import LoadError
from edgedistill.runtime import external_data
from edgedistill.runtime.external_data import check_external_data
from edgedistill.runtime.onnx import create_session

_SIZE = 4096 * 2  # of the tiny palette's weights


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return tiny_palette.write(tmp_path / "palette") / "large.onnx"


def _tensor(location: str = "/etc/passwd", offset: str = "0", length: str = "4") -> TensorProto:
    tensor = TensorProto(name="t", data_type=TensorProto.UINT8, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=value)
    return tensor


def _graph(*nodes: onnx.NodeProto, initializer: tuple[TensorProto, ...] = ()) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "inner", [], [], list(initializer))


def _with_attribute(**value: object) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["c"], **value)


def _sparse(values: TensorProto, indices: TensorProto) -> onnx.SparseTensorProto:
    return onnx.SparseTensorProto(values=values, indices=indices, dims=[4])


def _nested(levels: int) -> onnx.NodeProto:
    node = _with_attribute(value=_tensor())
    for _ in range(levels):
        node = helper.make_node("If", ["c"], ["c"], then_branch=_graph(node))
    return node


def _function(model: onnx.ModelProto) -> None:
    model.functions.add(name="f").node.append(_with_attribute(value=_tensor()))


def _function_default(model: onnx.ModelProto) -> None:
    model.functions.add(name="f").attribute_proto.append(helper.make_attribute("a", _tensor()))


_PLACES: dict[str, Callable[[onnx.ModelProto], object]] = {
    "initializer": lambda m: m.graph.initializer.append(_tensor()),
    "sparse initializer": lambda m: m.graph.sparse_initializer.append(_sparse(_tensor(), TensorProto())),
    "its indices": lambda m: m.graph.sparse_initializer.append(_sparse(TensorProto(), _tensor())),
    "attribute": lambda m: m.graph.node.append(_with_attribute(value=_tensor())),
    "attribute with several": lambda m: m.graph.node.append(_with_attribute(values=[_tensor()])),
    "sparse attribute": lambda m: m.graph.node.append(_with_attribute(value=_sparse(_tensor(), TensorProto()))),
    "several sparse": lambda m: m.graph.node.append(_with_attribute(values=[_sparse(_tensor(), TensorProto())])),
    "subgraph": lambda m: m.graph.node.append(_with_attribute(body=_graph(initializer=(_tensor(),)))),
    "several subgraphs": lambda m: m.graph.node.append(_with_attribute(bodies=[_graph(initializer=(_tensor(),))])),
    "deep below": lambda m: m.graph.node.append(_nested(30)),
    "function": _function,
    "default of a function": _function_default,
    "training": lambda m: m.training_info.add().algorithm.CopyFrom(_graph(initializer=(_tensor(),))),
    "before training": lambda m: m.training_info.add().initialization.CopyFrom(_graph(initializer=(_tensor(),))),
}


@pytest.mark.parametrize("place", _PLACES)
def test_a_foreign_file_is_refused_wherever_a_tensor_can_lie(graph: Path, place: str) -> None:
    model = onnx.load(graph, load_external_data=False)
    _PLACES[place](model)
    graph.write_bytes(model.SerializeToString())
    for allowed in ({"weights.bin"}, None):
        with pytest.raises(LoadError, match="'/etc/passwd'"):
            check_external_data(graph, allowed)
    with pytest.raises(LoadError, match="'/etc/passwd'"):
        create_session(graph, 1)


@pytest.mark.parametrize(
    "location",
    [
        "../weights.bin",
        "./weights.bin",
        "sub/weights.bin",
        "",
        "..",
        "link.bin",
        "other.bin",
        "*/_ORT_MEM_ADDR_/*",
        "\0",
    ],
)
def test_only_the_listed_file_is_read(graph: Path, location: str) -> None:
    (graph.parent / "other.bin").write_bytes(bytes(_SIZE))
    (graph.parent / "link.bin").symlink_to("/etc/passwd")
    _append(graph, _tensor(location))
    with pytest.raises(LoadError, match="takes weights from"):
        check_external_data(graph, {"weights.bin"})
    if location != "other.bin":
        with pytest.raises(LoadError):
            check_external_data(graph)


@pytest.mark.parametrize(
    ("offset", "length", "says"),
    [
        (str(_SIZE - 3), "4", "reads 8193 bytes"),
        (str(2**62), "4", "reads"),
        ("0", str(2**63 - 1), "reads"),
        ("-4", "8", "is not a graph"),
        ("1e3", "4", "is not a graph"),
        ("0", "", "is not a graph"),
        ("٣", "4", "is not a graph"),
    ],
)
def test_what_is_read_lies_within_the_file(graph: Path, offset: str, length: str, says: str) -> None:
    check_external_data(graph, {"weights.bin"})
    _append(graph, _tensor("weights.bin", str(_SIZE - 4)))
    check_external_data(graph, {"weights.bin"})
    _append(graph, _tensor("weights.bin", offset, length))
    with pytest.raises(LoadError, match=says):
        check_external_data(graph, {"weights.bin"})


def _append(graph: Path, tensor: TensorProto) -> None:
    model = onnx.load(graph, load_external_data=False)
    model.graph.initializer.append(tensor)
    graph.write_bytes(model.SerializeToString())


def test_weights_that_lost_their_end_are_noticed(graph: Path) -> None:
    check_external_data(graph, {"weights.bin"})
    (graph.parent / "weights.bin").write_bytes(b"")
    with pytest.raises(LoadError, match=r"weights\.bin, which has 0"):
        check_external_data(graph, {"weights.bin"})


def _delimited(number: int, content: bytes) -> bytes:
    return bytes([*_varint(number << 3 | 2), *_varint(len(content))]) + content


def _varint(value: int) -> list[int]:
    return [value & 127 | 128, *_varint(value >> 7)] if value > 127 else [value]


def test_parts_that_a_reader_would_merge_are_refused(graph: Path) -> None:
    """Two halves of one tensor are harmless by themselves."""
    half = _delimited(13, _delimited(1, b"location") + _delimited(2, b"weights.bin")) + _length()
    attribute = _delimited(5, half) + _delimited(5, b"")
    for content in (
        _delimited(7, _delimited(1, _delimited(5, attribute))),
        _delimited(7, _delimited(5, half)) + _delimited(7, b""),
        _delimited(7, _delimited(5, half * 2)),
        _delimited(7, _delimited(5, half + _delimited(13, _delimited(1, b"a") * 2))),
    ):
        graph.write_bytes(content)
        with pytest.raises(LoadError, match="is not a graph"):
            check_external_data(graph, {"weights.bin"})


@pytest.mark.parametrize(
    "content",
    [
        b"\x3a\xff\xff\xff\xff\x0f",  # longer than the file
        b"\x3a" + b"\xff" * 12,  # a number without end
        b"\x3b\x3c",  # a group, which ONNX has none of
        b"\x00",  # field 0
        b"ORTM" + bytes(range(256)),  # onnxruntime's own format
        b"\x08",
    ],
)
def test_what_is_not_a_protobuf_is_refused(graph: Path, content: bytes) -> None:
    graph.write_bytes(content)
    with pytest.raises(LoadError, match="is not a graph"):
        check_external_data(graph)


def test_a_graph_of_very_many_parts_is_refused_soon(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external_data, "_MAX_MESSAGES", 2000)
    node = _delimited(1, _delimited(3, b"location"))
    for content in (node * 1000, node * 2001, _delimited(2, b"") * 2001 + node):
        graph.write_bytes(_delimited(7, content))
        if len(content) == len(node) * 1000:
            check_external_data(graph)
            continue
        with pytest.raises(LoadError, match="more than 2,000 parts"):
            check_external_data(graph)
    monkeypatch.undo()


def test_nesting_without_end_takes_no_stack(graph: Path) -> None:
    content = b""
    for _ in range(2000):
        content = _delimited(1, _delimited(5, _delimited(6, content)))
    graph.write_bytes(_delimited(7, content))
    check_external_data(graph)


def test_fields_in_another_order_and_with_long_numbers_are_read(graph: Path) -> None:
    entry = _delimited(2, b"/etc/passwd") + b"\x8a\x80\x00\x88\x80\x00location"  # the key behind, tag and length padded
    graph.write_bytes(_delimited(7, _delimited(5, _delimited(13, entry) + _length())))
    with pytest.raises(LoadError, match="'/etc/passwd'"):
        check_external_data(graph)


def _length() -> bytes:
    return _delimited(13, _delimited(1, b"length") + _delimited(2, b"4"))
