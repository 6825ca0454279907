"""Importance order: what a prefix keeps should be what matters most.

Heads and FFN neurons are scored by how much the loss would change without them, to first order: the
gradient of a gate on the unit, which for a unit that feeds columns J of an output matrix W is
Σ W[:, J]·∂L/∂W[:, J]. Its absolute value a batch is summed over batches. Layers are ordered by greedy
removal: the layer without which the validation loss is lowest goes first, so that the sets nest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from edgedistill.subnet import SubnetConfig
from edgedistill.supernet.encoder import ElasticEncoder, ElasticLayer
from edgedistill.supernet.lowrank import ElasticLinear

__all__ = ["nested_layers", "rewire", "score_units"]


def score_units(model: ElasticEncoder, losses: Iterable[Callable[[], Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Scores (heads [h], neurons [f]) of each layer, from the maxnet's loss on each batch.

    Args:
        model: no stage may be training (see `ElasticEncoder.freeze`).
        losses: each computes one batch's loss from the model.
    """
    layers = [layer for layer in model.layers if isinstance(layer, ElasticLayer)]
    gates = [(layer.attention_output, layer.ffn_down) for layer in layers]
    scores = [(torch.zeros(model.arch.heads), torch.zeros(model.arch.ffn)) for _ in layers]
    for matrix in (matrix for pair in gates for matrix in pair):
        matrix.merged.requires_grad_(True)
    for loss in losses:
        loss().backward()  # type: ignore[no-untyped-call]
        for (attention, ffn), (heads, neurons) in zip(gates, scores, strict=True):
            heads.add_(_gate_gradient(attention).view(model.arch.heads, -1).sum(1).abs())
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


def rewire(model: ElasticEncoder, scores: list[tuple[Tensor, Tensor]]) -> None:
    """Permute each layer's heads and neurons from most to least important; the maxnet's function stays."""
    size = model.arch.head_size
    for layer, (heads, neurons) in zip(model.layers, scores, strict=True):
        assert isinstance(layer, ElasticLayer)
        order = heads.argsort(descending=True, stable=True)
        inner = (order[:, None] * size + torch.arange(size)).flatten()
        for linear in (layer.query, layer.key, layer.value):
            linear.reorder(rows=inner)
        layer.attention_output.reorder(columns=inner)
        units = neurons.argsort(descending=True, stable=True)
        layer.ffn_up.reorder(rows=units)
        layer.ffn_down.reorder(columns=units)


def nested_layers(
    model: ElasticEncoder, depths: Iterable[int], loss: Callable[[SubnetConfig], float]
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
                key=lambda layers: loss(
                    SubnetConfig.uniform(layers, hidden=arch.hidden, heads=arch.heads, ffn=arch.ffn)
                ),
            )
        found.append(kept)
    return tuple(found)
