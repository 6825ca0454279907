"""Write a subnet of an encoder as one graph over the shared weights file.

Shapes: b = batch, n = tokens, d = hidden width, h = heads, s = head size. Weights are named as in the supernet
(`layers.0.query.weight`), matrices are [in, out], and embedding tables keep their full width.

In fp32, attention is one node of onnxruntime's own (``com.microsoft.Attention``): one product for queries, keys and
values, and no transposed copies. Every onnxruntime for CPU has it. It takes no quantized weights, and other runtimes
do not have it, so int8 graphs and portable ones compute attention with ONNX's own operators.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgedistill.architecture import Architecture, LayerShape, Subnet
from edgedistill.exporters.binding import attach
from edgedistill.exporters.encoder_products import EncoderProducts
from edgedistill.exporters.graph_blocks import flat, heads_of, norm
from edgedistill.exporters.graph_builder import OUTPUT, GraphBuilder
from edgedistill.exporters.weights import EncoderWeightStore, WeightsFile

__all__ = ["encoder_graph", "graph_inputs", "output_shape"]

_QKV = ("query", "key", "value")
_LOWEST = np.finfo(np.float32).min
_LEAST_NORM = 1e-12  # as in torch's `normalize`


def graph_inputs(arch: Architecture) -> tuple[str, ...]:
    """List the names of a graph's inputs, each [batch, sequence] int64, in the order of the encoder's arguments."""
    return ("input_ids", "attention_mask", *(("token_type_ids",) if arch.token_types else ()))


def output_shape(arch: Architecture) -> list[int | str]:
    """Return the shape of the graph's output: [b, c], or [b, n, c] if each token gets an answer."""
    return ["batch", *(["sequence"] if arch.pooling == "each" else []), arch.output_width]


def encoder_graph(
    store: EncoderWeightStore, subnet: Subnet, weights: WeightsFile, *, eps: float, portable: bool = False
) -> tuple[onnx.ModelProto, int]:
    """Build the subnet's graph over the weights file of ``store``.

    Args:
        store: the tensors and their precision.
        subnet: the slice to write.
        weights: the file that holds at least what the subnet keeps.
        eps: added to the variance in each norm.
        portable: use ONNX's own operators alone.

    Returns:
        The model, and how many bytes of the weights file it refers to.
    """
    writer = _EncoderWriter(store, subnet, eps, fused=not (portable or store.whole))
    writer.write()
    nodes, bound, weight_bytes = attach(writer.builder.nodes, store.extents(subnet), weights)
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
        for name in graph_inputs(store.arch)
    ]
    outputs = [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, output_shape(store.arch))]
    return writer.builder.model(subnet.name, inputs, outputs, nodes, bound), weight_bytes


class _EncoderWriter:
    """Write the nodes, from the embeddings to the head."""

    def __init__(self, store: EncoderWeightStore, subnet: Subnet, eps: float, *, fused: bool) -> None:
        self.builder = GraphBuilder()
        self._products = EncoderProducts(self.builder, store)
        self._arch, self._subnet, self._eps, self._fused = store.arch, subnet, eps, fused

    def write(self) -> None:
        mask = self._whole_mask() if self._fused else self._masked_bias()
        x = self._embeddings()
        for shape in self._subnet.layers:
            x = self._layer(shape, x, mask)
        self._head(x)

    def _embeddings(self) -> str:
        """Sum the rows of the tables, keep the subnet's width, and normalize: [b, n, d]."""
        add = self.builder.add
        summed = add("Add", [self._rows("word", "input_ids"), self._rows("position", self._positions())], "embeddings")
        if self._arch.token_types:
            summed = add("Add", [summed, self._rows("token_type", "token_type_ids")], "embeddings.typed")
        if self._arch.table_width:
            return self._linear("projection", self._norm("embeddings.norm", summed))
        if self._subnet.hidden != self._arch.hidden:
            summed = self.builder.first(summed, self._subnet.hidden, "embeddings.cut")
        return self._norm("embeddings.norm", summed)

    def _positions(self) -> str:
        """Count the tokens: [n]."""
        builder = self.builder
        builder.add("Shape", ["input_ids"], "tokens.shape", start=1, end=2)
        builder.add("Squeeze", ["tokens.shape"], "tokens")
        return builder.add("Range", [builder.constant(0, "zero"), "tokens", builder.constant(1, "one")], "positions")

    def _rows(self, table: str, ids: str) -> str:
        return self._products.rows(f"embeddings.{table}.weight", ids, f"embeddings.{table}")

    def _norm(self, name: str, x: str) -> str:
        return norm(self.builder, self._arch, name, x, self._eps)

    def _layer(self, shape: LayerShape, x: str, mask: str) -> str:
        """Write attention and FFN, each with its residual and norm behind it: [b, n, d] → [b, n, d]."""
        layer, add = f"layers.{shape.index}", self.builder.add
        context = self._fused_attention(shape, x, mask) if self._fused else self._attention(layer, x, mask)
        attended = add("Add", [x, self._linear(f"{layer}.attention_output", context)], f"{layer}.attended")
        x = self._norm(f"{layer}.attention_norm", attended)
        inner = add("Gelu", [self._linear(f"{layer}.ffn_up", x)], f"{layer}.ffn_inner")
        fed = add("Add", [x, self._linear(f"{layer}.ffn_down", inner)], f"{layer}.fed")
        return self._norm(f"{layer}.ffn_norm", fed)

    def _linear(self, module: str, x: str, output: str | None = None) -> str:
        product = self._products.product(x, f"{module}.weight", f"{module}.product")
        return self.builder.add("Add", [product, f"{module}.bias"], output or module)

    def _whole_mask(self) -> str:
        """Cast the mask [b, n] to the type that the fused node takes."""
        return self.builder.add("Cast", ["attention_mask"], "attention_mask.int32", to=TensorProto.INT32)

    def _fused_attention(self, shape: LayerShape, x: str, mask: str) -> str:
        """Attend: x [b, n, d] → context [b, n, h·s]; the weights are concatenated once, when the session is created."""
        layer = f"layers.{shape.index}"
        joined = [
            self.builder.add("Concat", [f"{layer}.{part}.{kind}" for part in _QKV], f"{layer}.qkv.{kind}", axis=axis)
            for kind, axis in (("weight", 1), ("bias", 0))
        ]
        return self.builder.fuse(
            "Attention",
            [x, *joined, mask],
            f"{layer}.context",
            num_heads=shape.heads,
            mask_filter_value=float(_LOWEST),
        )

    def _masked_bias(self) -> str:
        """Turn the mask [b, n] of 1 and 0 into what is added to scores: [b, 1, 1, n] of 0 and the lowest float."""
        builder = self.builder
        axes = builder.constant([1, 2], "axes_1_2")
        builder.add("Unsqueeze", ["attention_mask", axes], "attention_mask.wide")
        builder.add("Cast", ["attention_mask.wide"], "attention_mask.float", to=TensorProto.FLOAT)
        ones = builder.array(np.array(1, np.float32), "one.float")
        builder.add("Sub", [ones, "attention_mask.float"], "attention_mask.hidden")
        return builder.add(
            "Mul", ["attention_mask.hidden", builder.array(np.array(_LOWEST), "lowest")], "attention_mask.bias"
        )

    def _attention(self, layer: str, x: str, bias: str) -> str:
        """Attend with ONNX's own operators: x [b, n, d] → context [b, n, h·s]."""
        builder, size = self.builder, self._arch.head_size
        by_head = heads_of(builder, size)
        # Keys are transposed for the product of queries [b, h, n, s] with keys [b, h, s, n].
        order = {"query": [0, 2, 1, 3], "key": [0, 2, 3, 1], "value": [0, 2, 1, 3]}
        q, k, v = (
            builder.add(
                "Transpose",
                [builder.add("Reshape", [self._linear(f"{layer}.{part}", x), by_head], f"{layer}.{part}.split")],
                f"{layer}.{part}.heads",
                perm=order[part],
            )
            for part in _QKV
        )
        scale = builder.array(np.array(size**-0.5, np.float32), "score_scale")
        scaled = builder.add("Mul", [builder.add("MatMul", [q, k], f"{layer}.scores"), scale], f"{layer}.scores.scaled")
        masked = builder.add("Add", [scaled, bias], f"{layer}.scores.masked")
        shares = builder.add("Softmax", [masked], f"{layer}.shares", axis=-1)
        context = builder.add("MatMul", [shares, v], f"{layer}.context.heads")
        joined = builder.add("Transpose", [context], f"{layer}.context.split", perm=[0, 2, 1, 3])
        return flat(builder, joined, f"{layer}.context")

    def _head(self, x: str) -> None:
        """Write the head: last states [b, n, d] → [b, c], or [b, n, c] if each token gets an answer."""
        add, arch = self.builder.add, self._arch
        if arch.pooling == "first":
            x = add("Gather", [x, self.builder.constant(0, "zero")], "pooled", axis=1)
        elif arch.pooling == "mean":
            x = self._mean(x)
        if arch.dense:
            x = add(
                {"tanh": "Tanh", "relu": "Relu", "gelu": "Gelu"}[arch.dense],
                [self._linear("dense", x)],
                "dense.activated",
            )
        if not arch.normalise:
            self._linear("classifier", x, OUTPUT)
            return
        x = self._linear("classifier", x)
        last = self.builder.constant([-1], "last_axis")
        length = add("ReduceL2", [x, last], "length", keepdims=1)
        least = self.builder.array(np.array(_LEAST_NORM, np.float32), "least_norm")
        add("Div", [x, add("Clip", [length, least], "length.clipped")], OUTPUT)

    def _mean(self, x: str) -> str:
        """Average x [b, n, d] over the tokens that the mask keeps: [b, d]."""
        builder, add = self.builder, self.builder.add
        add("Unsqueeze", ["attention_mask", builder.constant([2], "axes_2")], "attention_mask.by_token")
        weights = add("Cast", ["attention_mask.by_token"], "token_weights", to=TensorProto.FLOAT)
        tokens = builder.constant([1], "token_axis")
        total = add("ReduceSum", [add("Mul", [x, weights], "weighted"), tokens], "weighted.sum", keepdims=0)
        return add("Div", [total, add("ReduceSum", [weights, tokens], "token_count", keepdims=0)], "pooled")
