"""int8 and int4 in blocks: any slice is exact, the rounding is small, and onnxruntime cuts weights when it loads."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import decoder_graphs
import numpy as np
import onnx
import onnxruntime
import pytest
import tiny_decoder
import torch
from torch import Tensor

from edgedistill.errors import ExportError
from edgedistill.exporters.blocks import BLOCK, in_blocks, restored, scale_name
from edgedistill.exporters.decoder_steps import Steps
from edgedistill.exporters.decoder_weights import DecoderWeightStore
from edgedistill.palette import Precision
from edgedistill.supernet.model import ElasticTransformer
from edgedistill.supernet.slicing import extents

ARCHITECTURES = tiny_decoder.ARCHITECTURES
PRECISIONS: dict[Precision, int] = {"int8": 8, "int4": 4}
TEXT = np.random.default_rng(1).integers(0, tiny_decoder.VOCABULARY, 30).tolist()


@pytest.mark.parametrize("bits", [4, 8])
def test_weights_on_the_grid_come_back_as_they_were(bits: int) -> None:
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randint(-(2 ** (bits - 1)), 2 ** (bits - 1), (5, 3, BLOCK), generator=generator)
    numbers[..., 0] = -(2 ** (bits - 1))
    scales = torch.rand(5, 3, 1, generator=generator) * torch.tensor([1.0, -1.0, 1.0])[:, None] + 0.01
    matrix = (numbers * scales).flatten(1)[:, : 2 * BLOCK + 7]
    stored = in_blocks("w", matrix, bits)
    assert stored["w"].shape == (5, 3, BLOCK * bits // 8)
    torch.testing.assert_close(restored(stored["w"], stored["w.scale"], matrix.shape[1]), matrix)


def test_int4_is_nearer_than_rounding_to_the_largest_weight() -> None:
    matrix = torch.randn(256, 128, generator=torch.Generator().manual_seed(0))
    matrix[3] = 0
    stored = in_blocks("w", matrix, 4)
    ours = restored(stored["w"], stored["w.scale"], 128)
    blocks = matrix.view(256, -1, BLOCK)
    scale = (blocks.abs().amax(2, keepdim=True) / 7).clamp(min=1e-9)
    plain = ((blocks / scale).round() * scale).view(256, 128)
    assert (ours - matrix).square().sum() < 0.75 * (plain - matrix).square().sum()
    assert not ours[3].any()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_any_slice_is_the_slices_own_quantisation(name: str, precision: Precision, tmp_path: Path) -> None:
    """With activations in fp32 a graph computes what torch does over the restored weights, whatever the widths."""
    model, rng = tiny_decoder.decoder(ARCHITECTURES[name]), random.Random(0)
    model.freeze()
    subnets = [model.arch.full, *(tiny_decoder.random_subnet(model.arch, rng) for _ in range(3))]
    written = decoder_graphs.write(model, tmp_path, subnets, precision)
    rounded = _rounded(written.store, model)
    for subnet, path in written.graphs.items():
        expected = rounded.logits(torch.tensor([TEXT]), torch.ones(1, len(TEXT), dtype=torch.int64), subnet)[0].numpy()
        size = np.abs(expected).max()
        assert np.abs(_answers(path) - expected).max() < 0.05 * size  # activations in 8 bits
        assert np.abs(_answers(_exact(path)) - expected).max() < 1e-5 * size


def _rounded(store: DecoderWeightStore, model: ElasticTransformer) -> ElasticTransformer:
    """The supernet with the weights that the store stands for."""
    twin = tiny_decoder.decoder(model.arch, pairs=0)
    twin.load_state_dict({name: tensor for name, tensor in model.state_dict().items() if ".pairs." not in name})
    twin.freeze()
    linears = twin.elastic_linears()
    for name, bits in store.bits.items():
        whole = store.tensors[name].view(store.tensors[name].shape[0], -1, BLOCK * bits // 8)
        width = extents(model.arch, model.arch.full).get(name, (0, model.arch.hidden))[1]
        matrix: Tensor = restored(whole, store.tensors[scale_name(name)], width)
        if name == "word.weight":
            twin.word.weight.data = matrix
        elif name.removesuffix(".weight") in linears:
            linears[name.removesuffix(".weight")].merged = matrix
    return twin


def _exact(path: Path) -> Path:
    """The same graph with activations in fp32."""
    graph = onnx.load(path, load_external_data=False)
    for node in graph.graph.node:
        for attribute in node.attribute:
            if attribute.name == "accuracy_level":
                attribute.i = 0
    exact = path.with_suffix(".exact.onnx")
    exact.write_bytes(graph.SerializeToString())
    return exact


def _answers(path: Path) -> np.ndarray:
    """Logits [n, V], a prompt and then single tokens."""
    steps = Steps(path, len(TEXT), 1)
    return np.concatenate([steps.step(TEXT[:20]), *(steps.step([token]) for token in TEXT[20:])])


@pytest.mark.parametrize("precision", ["fp32", *PRECISIONS])
def test_onnxruntime_cuts_and_joins_weights_when_it_loads(precision: Precision, tmp_path: Path) -> None:
    model = tiny_decoder.decoder(ARCHITECTURES["grouped"])
    model.freeze()
    subnet = tiny_decoder.SPACE.minnet
    written = decoder_graphs.write(model, tmp_path, [model.arch.full, subnet], precision)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    onnxruntime.InferenceSession(written.graphs[subnet], options, providers=["CPUExecutionProvider"])
    loaded = onnx.load(tmp_path / "loaded.onnx", load_external_data=False)
    kinds = Counter(node.op_type for node in loaded.graph.node)
    assert kinds["Concat"] == 0
    assert kinds["Slice"] == 1  # of the rows of the table, in each step


def test_a_table_in_blocks_is_stored_once_and_read_by_both(tmp_path: Path) -> None:
    model = tiny_decoder.decoder(ARCHITECTURES["normed"])
    model.freeze()
    tensors = decoder_graphs.write(model, tmp_path, [tiny_decoder.SPACE.minnet], "int4").weights.tensors
    for head, table in (("head.weight", "word.weight"), ("head.weight.scale", "word.weight.scale")):
        assert tensors[head].offset == tensors[table].offset
    assert tensors["head.weight"].shape == (tiny_decoder.VOCABULARY, 1, 16)
    assert tensors["word.weight"].shape == (tiny_decoder.VOCABULARY, 16)


def test_parts_stay_in_fp32_where_that_is_asked_for() -> None:
    model = tiny_decoder.decoder(ARCHITECTURES["grouped"])
    store = DecoderWeightStore.of(model, "int4", keep_fp32=("embeddings", "layers.1"))
    assert store.tensors["word.weight"].dtype == torch.float32
    assert store.tensors["layers.1.query.weight"].dtype == torch.float32
    assert store.tensors["layers.0.query.weight"].dtype == torch.uint8
    assert store.tensors["head.weight"].dtype == torch.uint8
    with pytest.raises(ExportError, match=r"no 'layers\.9' to keep in fp32; the parts are embeddings, head, layers\.0"):
        DecoderWeightStore.of(model, "int8", keep_fp32=("layers.9",))
