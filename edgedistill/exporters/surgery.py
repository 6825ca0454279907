"""A subnet's graph from the super-graph: repeat the layer, drop layers, bind weights to slices of the shared file.

A prefix of rows is a shorter read of the file. A prefix of columns needs a Slice node behind the weight,
which onnxruntime folds when it creates the session, so that running costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from edgedistill.exporters.attention import fit_heads
from edgedistill.exporters.binding import attach, bounds, rename_inputs
from edgedistill.exporters.weights import Stock, WeightsFile, graph_extents
from edgedistill.subnet import Architecture, SubnetConfig

__all__ = ["derive", "template"]

_EMBEDDING_NORM = "embeddings.norm.weight"
_LAYER_NORM = "layers.{}.ffn_norm.weight"  # what a layer ends with
_FIRST_LAYER = "layers.0."


def template(supergraph: onnx.ModelProto, arch: Architecture) -> onnx.ModelProto:
    """The maxnet's graph without weights: the super-graph's layer repeated, and with reshapes that fit any width."""
    names = set(graph_extents(arch, arch.full))
    graph = onnx.GraphProto.FromString(supergraph.graph.SerializeToString())
    constants = {i.name: i for i in graph.initializer if i.name not in names}
    nodes, shapes = _width_agnostic(list(graph.node), constants)
    for node in nodes:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    nodes = _repeated(nodes, arch.layers)
    inputs, outputs = [_bare(value) for value in graph.input], [_bare(value) for value in graph.output]
    bare = helper.make_graph(nodes, "encoder", inputs, outputs, [*constants.values(), *shapes])
    return helper.make_model(
        bare, opset_imports=supergraph.opset_import, ir_version=supergraph.ir_version, producer_name="edgedistill"
    )


def _bare(value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    value = onnx.ValueInfoProto.FromString(value.SerializeToString())
    value.ClearField("metadata_props")
    return value


def _width_agnostic(
    nodes: list[NodeProto], constants: dict[str, TensorProto]
) -> tuple[list[NodeProto], list[TensorProto]]:
    """Reshapes to [batch, sequence, heads, size] or [batch, sequence, width] keep two dimensions, infer the next."""
    producers = {name: node for node in nodes for name in node.output}
    shapes: dict[str, TensorProto] = {}
    result = []
    for node in nodes:
        if node.op_type == "Reshape":
            parts = [constants[name] for name in producers[node.input[1]].input if name in constants]
            tail = [int(numpy_helper.to_array(part).item()) for part in parts[1:]]
            name = "_".join(["shape", "rest", *map(str, tail)])
            shapes[name] = numpy_helper.from_array(np.array([0, 0, -1, *tail], np.int64), name)
            node = helper.make_node("Reshape", [node.input[0], name], list(node.output), node.name)  # noqa: PLW2901
        result.append(node)
    return result, list(shapes.values())


def _repeated(nodes: list[NodeProto], depth: int) -> list[NodeProto]:
    """Copies of the only layer, one behind the other, between what does not depend on it and what does."""
    start, end = _output_of(nodes, _EMBEDDING_NORM), _output_of(nodes, _LAYER_NORM.format(0))
    dependent, before, after = {start}, [], []
    for node in nodes:
        if dependent.intersection(node.input):
            dependent.update(node.output)
            after.append(node)
        else:
            before.append(node)
    layer = _live(after, [end])
    behind = [node for node in after if node not in layer]
    last = start
    for index in range(depth):
        before += _layer_copy(layer, index, {start: last})
        last = before[-1].output[0]
    rename_inputs(behind, {end: last})
    return [*before, *behind]


def _layer_copy(layer: list[NodeProto], index: int, names: dict[str, str]) -> list[NodeProto]:
    """The first layer's nodes as another layer's: with its weights, and names of its own for what they compute."""
    prefix = f"layers.{index}."
    names = names | {name: prefix + name for node in layer for name in node.output}
    copies = []
    for node in layer:
        inputs = [names.get(name, name.replace(_FIRST_LAYER, prefix)) for name in node.input]
        copy = helper.make_node(node.op_type, inputs, [names[name] for name in node.output], prefix + node.name)
        copy.attribute.extend(node.attribute)
        copies.append(copy)
    return copies


def derive(
    base: onnx.ModelProto, stock: Stock, subnet: SubnetConfig, weights: WeightsFile
) -> tuple[onnx.ModelProto, int]:
    """The subnet's graph over the weights file of this stock, and how many of the file's bytes it refers to."""
    arch = stock.arch
    model = onnx.ModelProto.FromString(base.SerializeToString())
    nodes = _without_layers(list(model.graph.node), arch, subnet)
    nodes = _live(nodes, [value.name for value in model.graph.output])
    fit_heads(nodes, subnet)
    used = {name for node in nodes for name in node.input}
    initializers = [i for i in model.graph.initializer if i.name in used]
    if subnet.hidden != arch.hidden:
        nodes, ends = _cut_embeddings(nodes, subnet.hidden)
        initializers += ends
    nodes, bound, weight_bytes = attach(nodes, stock.extents(subnet), weights)
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend({i.name: i for i in [*initializers, *bound]}.values())
    model.graph.name = subnet.name
    return model, weight_bytes


def _without_layers(nodes: list[NodeProto], arch: Architecture, subnet: SubnetConfig) -> list[NodeProto]:
    """Let whatever reads a dropped layer's output read that of the last kept one before it."""
    previous = _output_of(nodes, _EMBEDDING_NORM)
    replaced = {}
    for index in range(arch.layers):
        own = _output_of(nodes, _LAYER_NORM.format(index))
        if index in subnet.kept:
            previous = own
        else:
            replaced[own] = previous
    rename_inputs(nodes, replaced)
    return nodes


def _output_of(nodes: Iterable[NodeProto], weight: str) -> str:
    """What is computed with a weight that is used once."""
    outputs: Iterator[str] = (node.output[0] for node in nodes if weight in node.input)
    return next(outputs)


def _live(nodes: list[NodeProto], outputs: list[str]) -> list[NodeProto]:
    """The nodes that the outputs depend on, in their order."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]


def _cut_embeddings(nodes: list[NodeProto], hidden: int) -> tuple[list[NodeProto], list[TensorProto]]:
    """Cut the summed embeddings [b, n, d] before their norm."""
    place = next(i for i, node in enumerate(nodes) if _EMBEDDING_NORM in node.input)
    ends = bounds(2, hidden)
    cut = helper.make_node("Slice", [nodes[place].input[0], *ends], ["embeddings.kept"])
    nodes[place].input[0] = "embeddings.kept"
    return [*nodes[:place], cut, *nodes[place:]], list(ends.values())
