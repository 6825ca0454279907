"""Write a subnet of a decoder as one graph for prefill and for each step after it, over the shared weights file.

A step takes the n new tokens of one text and the cache of those before them, and gives the logits of the tokens that
are requested and the cache with the new ones. Bound to the same memory as what came in, the cache is written in place.
Operators are onnxruntime's fused ones, for its CPU provider.
"""

from __future__ import annotations

import onnx
from onnx import TensorProto, ValueInfoProto, helper

from edgedistill.architecture import Architecture, LayerShape, Subnet
from edgedistill.exporters.binding import attach
from edgedistill.exporters.decoder_attention import attend, cache_head_size
from edgedistill.exporters.decoder_products import Products
from edgedistill.exporters.decoder_weights import HEAD, POSITIONS, WORDS, DecoderWeightStore
from edgedistill.exporters.graph_blocks import norm, norm_tensors
from edgedistill.exporters.graph_builder import OUTPUT, GraphBuilder
from edgedistill.exporters.weights import WeightsFile
from edgedistill.palette import TensorSpec

__all__ = ["step_graph", "step_inputs"]

_TYPES = {"int64": TensorProto.INT64, "int32": TensorProto.INT32}
_QKV = ("query", "key", "value")
_ACTIVATIONS = {"silu": "QuickGelu", "gelu": "Gelu", "gelu_tanh": "FastGelu"}


def step_graph(store: DecoderWeightStore, subnet: Subnet, weights: WeightsFile) -> tuple[onnx.ModelProto, int]:
    """Return the subnet's graph over the weights file of this store, and how many of the file's bytes it reads.

    Inputs: ``input_ids`` [1, n] int64, ``seqlens_k`` [1] and ``total_sequence_length`` [] int32 (the tokens in the
    cache after the step, less one, and all of them), ``logit_positions`` [m] int64 (which of the n get logits),
    ``position_ids`` [1, n] int64 where positions are learned, and by layer, counted from 0, ``past_key_0`` and
    ``past_value_0`` [1, k, capacity, s] float32. Outputs: ``logits`` [1, m, V], ``present_key_0``, ...
    """
    writer = _Writer(store, subnet)
    writer.write()
    nodes, bound, weight_bytes = attach(writer.builder.nodes, store.extents(subnet), weights)
    inputs, outputs = _inputs(store.arch, subnet), _outputs(store.arch, subnet)
    return writer.builder.model(subnet.name, inputs, outputs, nodes, bound), weight_bytes


def step_inputs(arch: Architecture) -> list[TensorSpec]:
    """Return the inputs that are not a subnet's cache."""
    inputs = [
        TensorSpec(name="input_ids", dtype="int64", shape=[1, "n"]),
        TensorSpec(name="seqlens_k", dtype="int32", shape=[1]),
        TensorSpec(name="total_sequence_length", dtype="int32", shape=[]),
        TensorSpec(name="logit_positions", dtype="int64", shape=["m"]),
    ]
    learned = TensorSpec(name="position_ids", dtype="int64", shape=[1, "n"])
    return inputs if arch.rope_theta is not None else [*inputs, learned]


def _inputs(arch: Architecture, subnet: Subnet) -> list[ValueInfoProto]:
    values = [helper.make_tensor_value_info(spec.name, _TYPES[spec.dtype], spec.shape) for spec in step_inputs(arch)]
    return [*values, *_caches("past", arch, subnet)]


def _outputs(arch: Architecture, subnet: Subnet) -> list[ValueInfoProto]:
    logits = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, "m", arch.vocabulary])
    return [logits, *_caches("present", arch, subnet)]


def _caches(when: str, arch: Architecture, subnet: Subnet) -> list[ValueInfoProto]:
    shapes = [[1, arch.kv_heads_of(layer.heads), "capacity", cache_head_size(arch)] for layer in subnet.layers]
    parts = [(f"{when}_{part}_{place}", shape) for place, shape in enumerate(shapes) for part in ("key", "value")]
    return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in parts]


class _Writer:
    """Write the nodes. What a block of a layer computes is added to the stream by the norm behind it."""

    def __init__(self, store: DecoderWeightStore, subnet: Subnet) -> None:
        self.builder = GraphBuilder()
        self._products = Products(self.builder, store, subnet)
        self._store, self._subnet, self._arch = store, subnet, store.arch

    def write(self) -> None:
        added, stream, bias = self._positions(), self._products.rows(WORDS, "input_ids", "words"), ""
        for place, shape in enumerate(self._subnet.layers):
            prefix, is_last = f"layers.{shape.index}", place == len(self._subnet.layers) - 1
            normed, stream = self._norm(f"{prefix}.attention_norm", added, stream, bias)
            context = self._attention(place, shape, normed)
            if is_last:  # behind it tokens do not meet any more, so that only those go on whose logits are requested
                context, stream = self._selected(context), self._selected(stream)
            added = self._product(context, f"{prefix}.attention_output")
            bias = f"{prefix}.attention_output.bias" if self._arch.output_bias else ""
            normed, stream = self._norm(f"{prefix}.ffn_norm", added, stream, bias)
            added = self._product(self._inner(prefix, normed), f"{prefix}.ffn_down")
            bias = f"{prefix}.ffn_down.bias" if self._arch.ffn_bias else ""
        normed, _ = self._norm("norm", added, stream, bias)
        self._products.product(normed, [HEAD.removesuffix(".weight")], OUTPUT)

    def _positions(self) -> str:
        learned = self._arch.rope_theta is None
        return self._products.rows(POSITIONS, "position_ids", "positions") if learned else ""

    def _norm(self, name: str, added: str, stream: str, bias: str) -> tuple[str, str]:
        """Return the norm of the stream [1, n, d], and that stream: ``stream`` plus what is ``added`` to it."""
        if not added:
            return norm(self.builder, self._arch, name, stream, self._store.eps), stream
        kind = "SkipSimplifiedLayerNormalization" if self._arch.norm == "rms" else "SkipLayerNormalization"
        inputs, total = [added, stream, *norm_tensors(self._arch, name), *([bias] if bias else [])], f"{name}.stream"
        outputs = [name] if name == "norm" else [name, "", "", total]
        return self.builder.fuse(kind, inputs, *outputs, epsilon=self._store.eps), total

    def _attention(self, place: int, shape: LayerShape, normed: str) -> str:
        """Attend: [1, n, d] → context [1, n, h·s]."""
        prefix = f"layers.{shape.index}"
        modules = [f"{prefix}.{part}" for part in _QKV]
        x = self._products.product(normed, modules, f"{prefix}.qkv", biased=self._arch.qkv_bias)
        return attend(self.builder, self._arch, shape, place, x, self._store.eps)

    def _selected(self, x: str) -> str:
        return self.builder.add("Gather", [x, "logit_positions"], f"{x}.asked", axis=1)

    def _product(self, x: str, module: str, *, biased: bool = False) -> str:
        return self._products.product(x, [module], f"{module}.product", biased=biased)

    def _inner(self, prefix: str, x: str) -> str:
        """Compute what the FFN multiplies its second matrix with: [1, n, d] → [1, n, f]."""
        up, gate = f"{prefix}.ffn_up", f"{prefix}.ffn_gate"
        if not self._arch.gated:
            return self._activated(up, self._product(x, up, biased=self._arch.ffn_bias))
        # One product instead of two: threads meet at the end of each, which takes as long as a part of it.
        both = self._products.product(x, [gate, up], f"{gate}.and_up", biased=self._arch.ffn_bias)
        parts = [f"{gate}.product", f"{up}.product"]
        self.builder.add("Split", [both], *parts, axis=2, num_outputs=2)
        return self.builder.add("Mul", [self._activated(gate, parts[0]), parts[1]], f"{prefix}.ffn_inner")

    def _activated(self, module: str, x: str) -> str:
        alpha = {"alpha": 1.0} if self._arch.activation == "silu" else {}
        return self.builder.fuse(_ACTIVATIONS[self._arch.activation], [x], f"{module}.activated", **alpha)
