"""int8 graphs: whole-number products exactly, slices of one quantisation, tables that stay mapped."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import tiny_encoder
import torch
from onnx import TensorProto, helper, numpy_helper
from tiny_graphs import Exported

from edgedistill.architecture import Subnet
from edgedistill.exporters.checks import check_valid
from edgedistill.exporters.graph_builder import GraphBuilder
from edgedistill.exporters.quantization import integer_product, quantisable, quantised, scale_of
from edgedistill.exporters.weights import EncoderWeightStore
from edgedistill.runtime.onnx import create_session
from edgedistill.supernet.slicing import full_tensors, slice_tensors

ARCH = tiny_encoder.ARCH


@pytest.fixture(scope="module")
def whole(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return exported.quantised(tmp_path_factory.mktemp("int8"))


def _feeds(batch: int, length: int) -> dict[str, np.ndarray]:
    names = ("input_ids", "attention_mask", "token_type_ids")
    return {name: tensor.numpy() for name, tensor in zip(names, tiny_encoder.inputs(batch, length), strict=True)}


def test_a_weight_is_at_most_half_a_step_from_what_is_stored() -> None:
    matrix, table = torch.randn(30, 20) * 3, torch.randn(50, 8)
    matrix[:, 4] = 0
    stored = quantised({"layers.0.query.weight": matrix, "embeddings.word.weight": table}, STORED)
    for name, tensor in zip(STORED, (matrix, table), strict=True):
        scale = stored[scale_of(name)]
        assert stored[name].dtype == torch.uint8
        assert stored[name].min() >= 1  # 128 ± 127, so that negation is exact
        gap = ((stored[name].float() - 128) * scale - tensor).abs()
        assert (gap <= scale / 2 + 1e-6).all()
    assert stored[scale_of(STORED[0])].shape == (20,)
    assert stored[scale_of(STORED[1])].shape == (50, 1)


STORED = ("layers.0.query.weight", "embeddings.word.weight")


def test_the_head_norms_and_biases_stay_as_they_are_and_so_does_what_is_named() -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in full_tensors(tiny_encoder.encoder()).items()}
    names = quantisable(shapes)
    assert {name.split(".")[0] for name in names} == {"embeddings", "layers"}
    assert all(name.endswith("weight") and "norm" not in name for name in names)
    fewer = quantisable(shapes, keep_fp32=["layers.1", "layers.2.ffn_up"])
    assert {name for name in names if name not in fewer} == {
        *(name for name in names if name.startswith("layers.1.")),
        "layers.2.ffn_up.weight",
    }


@pytest.mark.slow
def test_every_subnet_slices_one_quantisation(whole: Exported) -> None:
    """A subnet multiplies its slice of the full matrix's integers and scales, and reads rows of the full table.

    Exact on every processor, since each step starts from what onnxruntime computed before it: rounding an activation
    is onnxruntime's own matter, and falls on either side of an edge where kernels sum in another order.
    """
    rng = random.Random(1)
    for subnet in (*tiny_encoder.SPACE, *(tiny_encoder.random_subnet(rng) for _ in range(8))):
        path = whole.write(subnet)
        check_valid(path, whole.model)
        graph, values = _all_values(path)
        stored = _stored_slices(whole, subnet)
        products = [node for node in graph.node if node.op_type == "MatMulInteger"]
        assert len(products) == 6 * len(subnet.kept)
        for product in products:
            _check_product(product, values, stored)
        for node in graph.node:
            if node.op_type == "DynamicQuantizeLinear":
                _check_activation(*(values[name] for name in (*node.input, *node.output)))
        _check_rows(graph, values, stored)


def _all_values(path: Path) -> tuple[onnx.GraphProto, dict[str, np.ndarray]]:
    """Run a graph in onnxruntime with every node's outputs visible, which keeps nodes from being fused."""
    model = onnx.load(path, load_external_data=False)
    names = [name for node in model.graph.node for name in node.output]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    visible = path.with_name("visible.onnx")
    visible.write_bytes(model.SerializeToString())
    feeds = _feeds(3, 9)
    found = create_session(visible, threads=1).run(names, feeds)
    return model.graph, feeds | dict(zip(names, map(np.asarray, found), strict=True))


def _stored_slices(whole: Exported, subnet: Subnet) -> dict[str, np.ndarray]:
    """The leading part of the full matrices, tables and scales that the subnet keeps."""
    kept = whole.store.extents(subnet)
    return {name: tensor.numpy() for name, tensor in slice_tensors(whole.store.tensors, kept).items()}


def _check_product(product: onnx.NodeProto, values: dict[str, np.ndarray], stored: dict[str, np.ndarray]) -> None:
    quantised, weight, zero_point, _ = product.input
    out = product.output[0].removesuffix(".integer")
    weight = weight.removesuffix(".kept")
    centred = values[quantised].astype(np.int64) - values[zero_point]
    integers = centred @ (stored[weight].astype(np.int64) - 128)
    np.testing.assert_array_equal(values[f"{out}.integer"], integers)
    scale = values[quantised.removesuffix(".quantised") + ".scale"] * stored[scale_of(weight)]
    np.testing.assert_array_equal(values[out], integers.astype(np.float32) * scale)


def _check_activation(x: np.ndarray, quantised: np.ndarray, scale: np.ndarray, zero_point: np.ndarray) -> None:
    """Less than a step away: half for rounding, and at the ends of the range half for rounding the zero point."""
    np.testing.assert_array_less(np.abs((quantised.astype(np.float32) - zero_point) * scale - x), 1.01 * scale)


def _check_rows(graph: onnx.GraphProto, values: dict[str, np.ndarray], stored: dict[str, np.ndarray]) -> None:
    gathers = {node.input[0]: node for node in graph.node if node.op_type == "Gather"}
    tables = [name for name in gathers if scale_of(name) in gathers]
    assert sorted(tables) == [f"embeddings.{part}.weight" for part in ("position", "token_type", "word")]
    for table in tables:
        rows, out = values[gathers[table].input[1]], gathers[table].output[0].removesuffix(".stored")
        whole_rows = stored[table][rows].astype(np.float32) - 128
        np.testing.assert_array_equal(values[out], whole_rows * stored[scale_of(table)][rows])


def test_a_product_of_whole_numbers_is_exact_when_fused() -> None:
    """Steps of exactly 1 and of powers of two, and sums below 2**24: no rounding anywhere, on any processor."""
    rng = np.random.default_rng(0)
    x = rng.integers(-127, 129, (7, 128)).astype(np.float32)
    x.flat[:2] = -127, 128  # the range of 255 steps
    matrix = rng.integers(-127, 128, (128, 33)).astype(np.float32)
    matrix[0] = 127
    matrix *= 2.0 ** -rng.integers(0, 9, 33)
    session = onnxruntime.InferenceSession(
        _product_graph(matrix).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"x": x})
    np.testing.assert_array_equal(found, x.astype(np.float64) @ matrix)


def _product_graph(matrix: np.ndarray) -> onnx.ModelProto:
    """Build one product with an int8 matrix, as graphs have it."""
    name = "layers.0.query.weight"
    builder = GraphBuilder()
    integer_product(builder, "x", name, "y")
    stored = quantised({name: torch.from_numpy(matrix)}, [name])
    return builder.model(
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", matrix.shape[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", matrix.shape[1]])],
        builder.nodes,
        [numpy_helper.from_array(tensor.numpy(), key) for key, tensor in stored.items()],
    )


def _by_onnxruntime(path: Path) -> np.ndarray:
    (found,) = create_session(path, threads=1).run(None, _feeds(3, 9))
    return np.asarray(found)


def test_int8_answers_are_near_those_of_fp32(exported: Exported, whole: Exported) -> None:
    for subnet in (ARCH.full, tiny_encoder.SPACE.minnet):
        exact, near = (_by_onnxruntime(graphs.write(subnet)) for graphs in (exported, whole))
        assert 0 < np.abs(exact - near).max() < 0.15 * np.abs(exact).max()


def test_what_is_kept_in_fp32_is_closer(exported: Exported, tmp_path: Path) -> None:
    kept = [f"layers.{i}" for i in range(ARCH.layers)] + ["embeddings"]
    same = exported.quantised(tmp_path, kept)
    np.testing.assert_allclose(
        *(_by_onnxruntime(graphs.write(ARCH.full)) for graphs in (exported, same)), atol=1e-5, rtol=1e-5
    )


def test_integer_products_are_exact_at_their_extremes() -> None:
    """Unsigned weights: signed ones saturate on processors without the newer instructions."""
    rng = np.random.default_rng(0)
    a = rng.choice(np.array([0, 1, 254, 255], np.uint8), (7, 512))
    w = rng.choice(np.array([1, 2, 254, 255], np.uint8), (512, 33))
    node = helper.make_node("MatMulInteger", ["a", "w", "za", "zw"], ["y"])
    constants = [
        helper.make_tensor("w", TensorProto.UINT8, w.shape, w.tobytes(), raw=True),
        helper.make_tensor("za", TensorProto.UINT8, [], [3]),
        helper.make_tensor("zw", TensorProto.UINT8, [], [128]),
    ]
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, a.shape)],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [7, 33])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"a": a})
    np.testing.assert_array_equal(found, (a.astype(np.int64) - 3) @ (w.astype(np.int64) - 128))


def test_running_a_cut_int8_graph_does_no_slicing(whole: Exported, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    path = whole.write(tiny_encoder.SPACE.minnet)
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    optimized = onnx.load(tmp_path / "optimized.onnx", load_external_data=False)
    slices = [node.input[0] for node in optimized.graph.node if node.op_type == "Slice"]
    assert not [name for name in slices if name in whole.weights.tensors]
    assert len(slices) <= 2
    products = [
        node.op_type for node in optimized.graph.node if "Integer" in node.op_type or "Quantize" in node.op_type
    ]
    assert products


def test_the_same_input_is_quantised_once(whole: Exported) -> None:
    graph, _ = whole.graph(ARCH.full)
    asked = [node.input[0] for node in graph.graph.node if node.op_type == "DynamicQuantizeLinear"]
    assert len(asked) == len(set(asked)) == 4 * ARCH.layers


def test_the_int8_file_is_a_quarter_of_the_fp32_one(exported: Exported, whole: Exported) -> None:
    def held(store: EncoderWeightStore) -> int:
        return sum(tensor.nbytes for name, tensor in store.tensors.items() if tensor.ndim == 2 or "scale" in name)

    assert held(whole.store) < 0.45 * held(exported.store)  # at these tiny widths scales weigh more
