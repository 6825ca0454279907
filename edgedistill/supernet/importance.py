"""Importance order: what a prefix keeps should be what matters most.

Heads (of a decoder whole groups: a KV head with the query heads that read it) and FFN neurons are scored by how
much the loss would change without them, to first order: the gradient of a gate on the unit, which for a unit that
feeds columns J of an output matrix W is Σ W[:, J]·∂L/∂W[:, J]. Its absolute value a batch is summed over batches.
Layers are ordered by greedy removal: the layer without which the validation loss is lowest goes first, so that the
sets nest.

A feature of the hidden width is one number of the residual stream: every norm writes it, all that reads the
stream reads it. Its gate acts on what each norm gives, x = w·n + b, so its gradient is w·∂L/∂w + b·∂L/∂b, b being
0 where the norm has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from edgedistill.architecture import Subnet
from edgedistill.supernet.decoder import ElasticDecoder, ElasticDecoderLayer, ElasticModel, ElasticRmsNorm
from edgedistill.supernet.decoder_order import order_decoder_hidden, rewire_decoder
from edgedistill.supernet.encoder import ElasticLayer, ElasticNorm
from edgedistill.supernet.lowrank import ElasticLinear

__all__ = ["nested_layers", "order_hidden", "rewire", "score_hidden", "score_units"]


def score_units(model: ElasticModel, losses: Iterable[Callable[[], Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Scores (heads [h] or groups [h / group], neurons [f]) of each layer, from the maxnet's loss on each batch.

    Args:
        model: no stage may be training (see `ElasticEncoder.freeze`).
        losses: each computes one batch's loss from the model.
    """
    layers = [layer for layer in model.layers if isinstance(layer, ElasticLayer | ElasticDecoderLayer)]
    gates = [(layer.attention_output, layer.ffn_down) for layer in layers]
    zeros, groups = layers[0].ffn_down.weight.new_zeros, model.arch.heads // model.arch.group
    scores = [(zeros(groups), zeros(model.arch.ffn)) for _ in layers]
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
    """∂L/∂gate of each input column [in]; clears the gradient."""
    gradient = matrix.merged.grad
    assert gradient is not None
    result = (matrix.merged.detach() * gradient).sum(0)
    matrix.merged.grad = None
    return result


def rewire(model: ElasticModel, scores: list[tuple[Tensor, Tensor]]) -> None:
    """Permute each layer's heads and neurons from most to least important; the maxnet's function stays."""
    if isinstance(model, ElasticDecoder):
        rewire_decoder(model, scores)
        return
    size = model.arch.head_size
    for layer, (heads, neurons) in zip(model.layers, scores, strict=True):
        assert isinstance(layer, ElasticLayer)
        order = heads.argsort(descending=True, stable=True)
        inner = (order[:, None] * size + torch.arange(size, device=order.device)).flatten()
        for linear in (layer.query, layer.key, layer.value):
            linear.reorder(rows=inner)
        layer.attention_output.reorder(columns=inner)
        units = neurons.argsort(descending=True, stable=True)
        layer.ffn_up.reorder(rows=units)
        layer.ffn_down.reorder(columns=units)


def score_hidden(model: ElasticModel, losses: Iterable[Callable[[], Tensor]]) -> Tensor:
    """A score of each feature of the hidden width [d]: |gate gradient|, summed over layers and batches.

    The features are those that a norm gives: of an encoder the embeddings' and each layer's output, of a decoder
    what each layer's attention and FFN read, and the head. From the maxnet's loss on each batch.

    Args:
        model: no stage may be training (see `ElasticEncoder.freeze`).
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


def _stream_norms(model: ElasticModel) -> list[ElasticNorm | ElasticRmsNorm]:
    if isinstance(model, ElasticDecoder):
        layers = [layer for layer in model.layers if isinstance(layer, ElasticDecoderLayer)]
        return [*(norm for layer in layers for norm in (layer.attention_norm, layer.ffn_norm)), model.norm]
    return [model.embeddings.norm, *(layer.ffn_norm for layer in model.layers if isinstance(layer, ElasticLayer))]


def _norms_gate_gradient(norm: ElasticNorm | ElasticRmsNorm) -> Tensor:
    """∂L/∂gate of each feature that the norm gives [d]; clears the gradients."""
    result = torch.zeros_like(norm.weight)
    for parameter in norm.parameters():
        assert parameter.grad is not None
        result += parameter.detach() * parameter.grad
        parameter.grad = None
    return result


@torch.no_grad()
def order_hidden(model: ElasticModel, scores: Tensor) -> None:
    """Permute the features of the hidden width from most to least important [d]; the maxnet's function stays.

    The outputs keep their order, so the vectors of a sentence encoder stay the teacher's.
    """
    if isinstance(model, ElasticDecoder):
        order_decoder_hidden(model, scores)
        return
    order = scores.argsort(descending=True, stable=True)
    tables = [module.weight for module in model.embeddings.children() if isinstance(module, nn.Embedding)]
    for table in (*tables, model.classifier.weight):
        table.copy_(table[:, order].clone())
    for module in model.modules():
        if isinstance(module, ElasticNorm):
            module.reorder(order)
        elif isinstance(module, ElasticLayer):
            for reader in (module.query, module.key, module.value, module.ffn_up):
                reader.reorder(columns=order)
            for writer in (module.attention_output, module.ffn_down):
                writer.reorder(rows=order)
    if model.dense is not None:
        model.dense.reorder(rows=order, columns=order)


def nested_layers(
    model: ElasticModel, depths: Iterable[int], loss: Callable[[Subnet], float]
) -> tuple[tuple[int, ...], ...]:
    """The kept layers for each depth, from deep to shallow, each a part of the one before.

    Args:
        model: gives the full widths at which removals are tried.
        depths: how many layers to keep, any order.
        loss: validation loss of a subnet, without training.
    """
    arch = model.arch
    wanted = sorted(set(depths), reverse=True)
    kept = tuple(range(arch.layers))
    found = []
    for depth in wanted:
        while len(kept) > depth:
            candidates = [tuple(i for i in kept if i != out) for out in kept]
            kept = min(
                candidates,
                key=lambda layers: loss(Subnet.uniform(layers, hidden=arch.hidden, heads=arch.heads, ffn=arch.ffn)),
            )
        found.append(kept)
    return tuple(found)
