"""Importance order: the scores are gate gradients, rewiring keeps the function, dropped layers nest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import tiny_encoder
import torch
from gates import gate_slope
from torch import Tensor
from torch.nn import functional as F

from edgedistill.architecture import Subnet
from edgedistill.supernet.importance import nested_layers, order_hidden, rewire, score_hidden, score_units
from edgedistill.supernet.model import ElasticTransformer

ARCH = tiny_encoder.ARCH


def _loss(model: ElasticTransformer) -> Tensor:
    logits = model(*tiny_encoder.inputs(8, 6), ARCH.full).logits
    return F.cross_entropy(logits, torch.arange(8) % ARCH.outputs)


def test_a_units_score_is_the_gradient_of_a_gate_on_it() -> None:
    """Of every head and neuron of a layer, by central differences in fp64."""
    model = tiny_encoder.encoder().double()
    model.freeze()
    heads, neurons = score_units(model, [lambda: _loss(model)])[1]
    layer = model.layers[1]
    for scores, matrix, width in ((heads, layer.attention_output.merged, 8), (neurons, layer.ffn_down.merged, 1)):
        expected = torch.stack(
            [gate_slope(lambda: _loss(model), matrix, unit * width, width) for unit in range(len(scores))]
        )
        torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-8)


def test_rewiring_keeps_the_function_and_sorts() -> None:
    model = tiny_encoder.encoder()
    model.freeze()
    feeds = tiny_encoder.inputs(4, 7)
    with torch.no_grad():
        before = model(*feeds, ARCH.full).logits
    scores = score_units(model, [lambda: _loss(model)])
    rewire(model, scores)
    with torch.no_grad():
        after = model(*feeds, ARCH.full).logits
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-4)
    for heads, neurons in score_units(model, [lambda: _loss(model)]):
        assert (heads[:-1] >= heads[1:] - 1e-4).all()
        assert (neurons[:-1] >= neurons[1:] - 1e-4).all()


def test_a_features_score_is_the_gradient_of_a_gate_on_it() -> None:
    """The gate multiplies the feature wherever the residual stream has it, one place at a time."""
    model = tiny_encoder.encoder()
    model.freeze()
    score = score_hidden(model, [lambda: _loss(model)])
    norms, step, expected = [model.embeddings.norm, *(layer.ffn_norm for layer in model.layers)], 1e-2, 0.0
    for norm in norms:
        losses = []
        for gate in (1 + step, 1 - step):
            hook = norm.register_forward_hook(lambda _, __, x, gate=gate: _gated(x, gate))
            losses.append(float(_loss(model)))
            hook.remove()
        expected += abs(losses[0] - losses[1]) / (2 * step)
    assert abs(float(score[5]) - expected) < 5e-3
    assert not any(parameter.requires_grad for parameter in model.parameters())


def _gated(x: Tensor, gate: float) -> Tensor:
    gates = torch.ones(ARCH.hidden)
    gates[5] = gate
    return x * gates


HEADS: dict[str, dict[str, Any]] = {
    "first-tanh": {},
    "first-relu-no-types": {"dense": "relu", "token_types": 0},
    "narrow-tables": {"table_width": 16, "dense": "gelu"},
    "each": {"pooling": "each", "dense": None},
    "embedding": {"pooling": "mean", "dense": None, "normalise": True, "outputs": 24},
}


@pytest.mark.parametrize("head", HEADS)
def test_ordering_the_hidden_width_keeps_the_function_and_sorts(head: str) -> None:
    """Pairs are permuted with their W0, so that training can go on."""
    model = tiny_encoder.encoder(replace(ARCH, **HEADS[head]))
    model.freeze()
    feeds = tiny_encoder.inputs(4, 7)

    def loss() -> Tensor:
        return model(*feeds, ARCH.full).logits.square()[..., :2].sum()

    with torch.no_grad():
        before = model(*feeds, ARCH.full).logits
    order_hidden(model, score_hidden(model, [loss]))
    with torch.no_grad():
        torch.testing.assert_close(model(*feeds, ARCH.full).logits, before, atol=1e-5, rtol=1e-4)
        model.freeze()
        torch.testing.assert_close(model(*feeds, ARCH.full).logits, before, atol=1e-5, rtol=1e-4)
    score = score_hidden(model, [loss])
    assert (score[:-1] >= score[1:] * (1 - 1e-3) - 1e-4).all()


def test_dropped_layers_are_the_least_missed_and_nest() -> None:
    value = {0: 5.0, 1: 1.0, 2: 3.0, 3: 4.0}

    def loss(subnet: Subnet) -> float:
        return -sum(value[index] for index in subnet.kept)

    assert nested_layers(tiny_encoder.encoder(), (4, 3, 1), loss) == ((0, 1, 2, 3), (0, 2, 3), (0,))
