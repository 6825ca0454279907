"""Order units by importance, so that a prefix keeps what matters most.

Heads (whole groups: a KV head with the query heads that read it) and FFN neurons are scored by how
much the loss would change without them, to first order: the gradient of a gate on the unit, which for a unit that
feeds columns J of an output matrix W is Σ W[:, J]·∂L/∂W[:, J]. Its absolute value a batch is summed over batches.
Layers are ordered by greedy removal: the layer without which the validation loss is lowest goes first, so that the
sets nest.

A feature of the hidden width is one number of the residual stream: every norm writes it, all that reads the
stream reads it. Its gate acts on what each norm gives, x = w·n + b, so its gradient is w·∂L/∂w + b·∂L/∂b, b being
0 where the norm has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from edgedistill.architecture import Subnet
from edgedistill.supernet.layers import AnyNorm, ElasticLayer
from edgedistill.supernet.lowrank import ElasticLinear
from edgedistill.supernet.model import ElasticTransformer

__all__ = ["nested_layers", "order_hidden", "rewire", "score_hidden", "score_units"]


def score_units(model: ElasticTransformer, losses: Iterable[Callable[[], Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Return scores (heads [h] or groups [h / group], neurons [f]) of each layer, from the maxnet's loss on each batch.

    Args:
        model: no stage may be training (see `ElasticTransformer.freeze`).
        losses: each computes one batch's loss from the model.
    """
    gates = [(layer.attention_output, layer.ffn_down) for layer in _layers(model)]
    zeros, groups = gates[0][1].weight.new_zeros, model.arch.heads // model.arch.group
    scores = [(zeros(groups), zeros(model.arch.ffn)) for _ in gates]
    for matrix in (matrix for pair in gates for matrix in pair):
        matrix.merged.requires_grad_(True)
    for loss in losses:
        loss().backward()  # type: ignore[no-untyped-call]
        for (attention, ffn), (heads, neurons) in zip(gates, scores, strict=True):
            heads.add_(_gate_gradient(attention).view(groups, -1).sum(1).abs())
            neurons.add_(_gate_gradient(ffn).abs())
    for matrix in (matrix for pair in gates for matrix in pair):
        matrix.merged.requires_grad_(False)
    return scores


def _gate_gradient(matrix: ElasticLinear) -> Tensor:
    """Return ∂L/∂gate of each input column [in], and clear the gradient."""
    gradient = matrix.merged.grad
    assert gradient is not None
    result = (matrix.merged.detach() * gradient).sum(0)
    matrix.merged.grad = None
    return result


def rewire(model: ElasticTransformer, scores: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Permute each layer's heads and neurons from most to least important; the maxnet's function stays.

    Args:
        model: what to permute, in place.
        scores: of each layer, its groups' of heads [h / group] and its neurons' [f].
    """
    for layer, (groups, neurons) in zip(_layers(model), scores, strict=True):
        _rewire_attention(layer, groups.argsort(descending=True, stable=True))
        order = neurons.argsort(descending=True, stable=True)
        for linear in (layer.ffn_up, layer.ffn_gate):
            if linear is not None:
                linear.reorder(rows=order)
        layer.ffn_down.reorder(columns=order)


def _layers(model: ElasticTransformer) -> list[ElasticLayer]:
    return [layer for layer in model.layers if isinstance(layer, ElasticLayer)]


def _rewire_attention(layer: ElasticLayer, order: Tensor) -> None:
    """Move the query heads of a KV head with it, or single query heads if all share the only KV head."""
    arch = layer.arch
    queries = _entries(order, arch.group * arch.head_size)
    layer.query.reorder(rows=queries)
    layer.attention_output.reorder(columns=queries)
    if arch.kv_heads != 1:
        for linear in (layer.key, layer.value):
            linear.reorder(rows=_entries(order, arch.head_size))


def _entries(order: Tensor, size: int) -> Tensor:
    """Turn an order of blocks into one of their entries: [m] → [m·size]."""
    return (order[:, None] * size + torch.arange(size, device=order.device)).flatten()


def score_hidden(model: ElasticTransformer, losses: Iterable[Callable[[], Tensor]]) -> Tensor:
    """Score each feature of the hidden width [d]: |gate gradient|, summed over layers and batches.

    The features are those that a norm gives: of an encoder the embeddings' and each layer's output, of a decoder
    what each layer's attention and FFN read, and the head. From the maxnet's loss on each batch.

    Args:
        model: no stage may be training (see `ElasticTransformer.freeze`).
        losses: each computes one batch's loss from the model.
    """
    norms = _stream_norms(model)
    score = norms[0].weight.new_zeros(model.arch.hidden)
    for norm in norms:
        norm.requires_grad_(True)
    for loss in losses:
        loss().backward()  # type: ignore[no-untyped-call]
        for norm in norms:
            score += _norms_gate_gradient(norm).abs()
    for norm in norms:
        norm.requires_grad_(False)
    return score


def _stream_norms(model: ElasticTransformer) -> list[AnyNorm]:
    """Return the norms that give the features: before attention, FFN and head, or behind embeddings and layers."""
    pairs = [(layer.attention_norm, layer.ffn_norm) for layer in _layers(model)]
    if model.norm is not None:
        return [*(norm for pair in pairs for norm in pair), model.norm]
    return [*_embeddings_norm(model), *(ffn for _, ffn in pairs)]


def _feature_norms(model: ElasticTransformer) -> list[AnyNorm]:
    """Return every norm over the hidden width, in the order they compute."""
    pairs = [(layer.attention_norm, layer.ffn_norm) for layer in _layers(model)]
    last = [] if model.norm is None else [model.norm]
    return [*_embeddings_norm(model), *(norm for pair in pairs for norm in pair), *last]


def _embeddings_norm(model: ElasticTransformer) -> list[AnyNorm]:
    """Return the norm of the embeddings, if its features are those of the hidden width."""
    return [] if model.embeddings is None or model.projection is not None else [model.embeddings.norm]


def _norms_gate_gradient(norm: AnyNorm) -> Tensor:
    """Return ∂L/∂gate of each feature that the norm gives [d], and clear the gradients."""
    result = torch.zeros_like(norm.weight)
    for parameter in norm.parameters():
        assert parameter.grad is not None
        result += parameter.detach() * parameter.grad
        parameter.grad = None
    return result


@torch.no_grad()
def order_hidden(model: ElasticTransformer, scores: Tensor) -> None:
    """Permute the features of the hidden width from most to least important [d]; the maxnet's function stays.

    The outputs keep their order, so the vectors of a sentence encoder stay the teacher's.
    """
    order = scores.argsort(descending=True, stable=True)
    tables = [table.weight for table in model.tables()] if model.projection is None else []
    for weight in (*tables, *([] if model.classifier is None else [model.classifier.weight])):
        weight.copy_(weight[:, order].clone())
    for norm in _feature_norms(model):
        norm.reorder(order)
    readers, writers = [model.head, model.dense], [model.projection, model.dense]
    for layer in _layers(model):
        readers += [layer.query, layer.key, layer.value, layer.ffn_up, layer.ffn_gate]
        writers += [layer.attention_output, layer.ffn_down]
    for matrices, side in ((readers, "columns"), (writers, "rows")):
        for matrix in matrices:
            if matrix is not None:
                matrix.reorder(**{side: order})


def nested_layers(
    model: ElasticTransformer, depths: Iterable[int], loss: Callable[[Subnet], float]
) -> tuple[tuple[int, ...], ...]:
    """Return the layers to keep for each depth, from deep to shallow, each a part of the one before.

    Args:
        model: gives the full widths at which removals are tried.
        depths: how many layers to keep, any order.
        loss: validation loss of a subnet, without training.
    """
    arch = model.arch
    remaining = tuple(range(arch.layers))
    nested = []
    for depth in sorted(set(depths), reverse=True):
        while len(remaining) > depth:
            candidates = [tuple(i for i in remaining if i != out) for out in remaining]
            remaining = min(
                candidates,
                key=lambda layers: loss(Subnet.uniform(layers, hidden=arch.hidden, heads=arch.heads, ffn=arch.ffn)),
            )
        nested.append(remaining)
    return tuple(nested)
