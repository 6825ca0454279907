"""Importance of a decoder: the scores are gate gradients of whole groups of heads, and ordering by them sorts."""

from __future__ import annotations

import pytest
import tiny_decoder
import torch
from gates import gate_slope
from torch import Tensor
from torch.nn import functional as F

from edgedistill.supernet.importance import order_hidden, rewire, score_hidden, score_units
from edgedistill.supernet.model import ElasticTransformer

NAMES = list(tiny_decoder.ARCHITECTURES)


def _loss(model: ElasticTransformer) -> Tensor:
    ids, mask = tiny_decoder.inputs(6, 9)
    logits = model.logits(ids, torch.ones_like(mask), model.arch.full)
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


@pytest.mark.parametrize("name", NAMES)
def test_a_groups_score_is_the_gradient_of_a_gate_on_it(name: str) -> None:
    """By central differences in fp64."""
    arch = tiny_decoder.ARCHITECTURES[name]
    model = tiny_decoder.decoder(arch).double()
    model.freeze()
    groups, neurons = score_units(model, [lambda: _loss(model)])[1]
    assert len(groups) == arch.heads // arch.group
    layer, width = model.layers[1], arch.group * arch.head_size
    for scores, matrix, size in ((groups, layer.attention_output.merged, width), (neurons, layer.ffn_down.merged, 1)):
        expected = torch.stack(
            [gate_slope(lambda: _loss(model), matrix, unit * size, size) for unit in range(len(scores))]
        )
        torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_ordering_keeps_the_function_and_sorts(name: str) -> None:
    model = tiny_decoder.decoder(tiny_decoder.ARCHITECTURES[name])
    model.freeze()
    feeds = tiny_decoder.inputs(4, 7)
    with torch.no_grad():
        before = model.logits(*feeds, model.arch.full)
    rewire(model, score_units(model, [lambda: _loss(model)]))
    order_hidden(model, score_hidden(model, [lambda: _loss(model)]))
    assert not any(parameter.requires_grad for parameter in model.parameters())
    with torch.no_grad():
        torch.testing.assert_close(model.logits(*feeds, model.arch.full), before, atol=1e-4, rtol=1e-3)
    for scores in (*sum(score_units(model, [lambda: _loss(model)]), ()), score_hidden(model, [lambda: _loss(model)])):
        assert (scores[:-1] >= scores[1:] * (1 - 1e-3) - 1e-4).all()
