"""Importance order of a decoder: permuted so that a prefix keeps what matters most, its function unchanged.

What is kept or cut together moves together: the query heads of a KV head with it, or single query heads where all
share the only KV head (see `Architecture.group`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from edgedistill.supernet.decoder import ElasticDecoder, ElasticDecoderLayer

__all__ = ["order_decoder_hidden", "rewire_decoder"]


def rewire_decoder(model: ElasticDecoder, scores: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Permute each layer's groups of heads and its neurons from most to least important; the maxnet's function stays.

    Args:
        model: what to permute, in place.
        scores: of each layer, its groups' [heads / group] and its neurons' [f].
    """
    for layer, (groups, neurons) in zip(model.layers, scores, strict=True):
        assert isinstance(layer, ElasticDecoderLayer)
        _rewire_attention(layer, groups.argsort(descending=True, stable=True))
        order = neurons.argsort(descending=True, stable=True)
        for linear in (layer.ffn_up, layer.ffn_gate):
            if linear is not None:
                linear.reorder(rows=order)
        layer.ffn_down.reorder(columns=order)


def _rewire_attention(layer: ElasticDecoderLayer, order: Tensor) -> None:
    arch = layer.arch
    queries = _blocks(order, arch.group * arch.head_size)
    layer.query.reorder(rows=queries)
    layer.attention_output.reorder(columns=queries)
    if arch.kv_heads > 1:
        for linear in (layer.key, layer.value):
            linear.reorder(rows=_blocks(order, arch.head_size))


def _blocks(order: Tensor, size: int) -> Tensor:
    """An order of blocks as one of their entries: [m] → [m·size]."""
    return (order[:, None] * size + torch.arange(size, device=order.device)).flatten()


@torch.no_grad()
def order_decoder_hidden(model: ElasticDecoder, scores: Tensor) -> None:
    """Permute the features of the hidden width from most to least important [d]; the maxnet's function stays."""
    order = scores.argsort(descending=True, stable=True)
    for table in (model.word, model.position):
        if table is not None:
            table.weight.copy_(table.weight[:, order].clone())
    model.norm.reorder(order)
    if model.head is not None:
        model.head.reorder(columns=order)
    for layer in model.layers:
        assert isinstance(layer, ElasticDecoderLayer)
        for norm in (layer.attention_norm, layer.ffn_norm):
            norm.reorder(order)
        for reader in (layer.query, layer.key, layer.value, layer.ffn_up, layer.ffn_gate):
            if reader is not None:
                reader.reorder(columns=order)
        for writer in (layer.attention_output, layer.ffn_down):
            writer.reorder(rows=order)
