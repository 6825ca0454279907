"""Importance order: the scores are gate gradients, rewiring keeps the function, dropped layers nest."""

from __future__ import annotations

import tiny_encoder
import torch
from torch import Tensor
from torch.nn import functional as F

from edgedistill.subnet import SubnetConfig
from edgedistill.supernet.encoder import ElasticEncoder
from edgedistill.supernet.importance import nested_layers, rewire, score_units

ARCH = tiny_encoder.ARCH


def _loss(model: ElasticEncoder) -> Tensor:
    logits = model(*tiny_encoder.inputs(8, 6), ARCH.full).logits
    return F.cross_entropy(logits, torch.arange(8) % ARCH.labels)


def test_a_neurons_score_is_the_gradient_of_a_gate_on_it() -> None:
    model = tiny_encoder.encoder()
    model.freeze()
    _, neurons = score_units(model, [lambda: _loss(model)])[1]
    matrix, step = model.layers[1].ffn_down.merged, 1e-2
    kept = matrix[:, 3].clone()
    losses = []
    for gate in (1 + step, 1 - step):
        matrix[:, 3] = kept * gate
        losses.append(float(_loss(model)))
    assert abs(float(neurons[3]) - abs(losses[0] - losses[1]) / (2 * step)) < 2e-3


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


def test_dropped_layers_are_the_least_missed_and_nest() -> None:
    value = {0: 5.0, 1: 1.0, 2: 3.0, 3: 4.0}

    def loss(subnet: SubnetConfig) -> float:
        return -sum(value[index] for index in subnet.kept)

    assert nested_layers(tiny_encoder.encoder(), (4, 3, 1), loss) == ((0, 1, 2, 3), (0, 2, 3), (0,))
