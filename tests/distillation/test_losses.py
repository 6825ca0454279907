"""What subnets learn from."""

from __future__ import annotations

import math

import tiny_encoder
import torch
from torch.nn import functional as F

from edgedistill.distillation.losses import FeatureProjection, layer_map, logit_loss
from edgedistill.subnet import SubnetConfig
from edgedistill.supernet.encoder import EncoderOutput


def test_the_logit_loss_by_hand() -> None:
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[math.log(9.0), 0.0]])
    labels = torch.tensor([0])
    p = 0.75  # softmax of log(9)/2 against 0
    kl = p * math.log(p / 0.5) + (1 - p) * math.log((1 - p) / 0.5)
    expected = 0.1 * math.log(2) + 0.9 * 4 * kl
    assert abs(float(logit_loss(student, teacher, labels, alpha=0.9, temperature=2.0)) - expected) < 1e-6


def test_alpha_zero_is_the_labels_alone() -> None:
    student, teacher, labels = torch.randn(4, 3), torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    loss = logit_loss(student, teacher, labels, alpha=0.0, temperature=3.0)
    torch.testing.assert_close(loss, F.cross_entropy(student, labels))


def test_a_layer_stands_in_for_those_dropped_behind_it() -> None:
    def mapped(*kept: int) -> list[int]:
        return layer_map(SubnetConfig.uniform(kept, hidden=8, heads=1, ffn=8), 6)

    assert mapped(0, 1, 2, 3, 4, 5) == [0, 1, 2, 3, 4, 5]
    assert mapped(0, 2, 3, 5) == [1, 2, 4, 5]
    assert mapped(1, 3) == [2, 5]


def test_the_feature_loss_is_zero_for_the_maxnet_and_one_for_its_mean() -> None:
    torch.manual_seed(0)
    states = [torch.randn(400, 24) * torch.linspace(3, 0.1, 24) for _ in range(4)]
    projection = FeatureProjection(states, 6)
    teacher = EncoderOutput(torch.zeros(1, 2), tuple(s[None] for s in states))
    mean = EncoderOutput(torch.zeros(1, 2), tuple(s.mean(0).expand(1, 400, 24) for s in states))
    full, mask = tiny_encoder.ARCH.full, torch.ones(1, 400)
    assert float(projection.loss(teacher, teacher, full, mask)) == 0.0
    assert abs(float(projection.loss(mean, teacher, full, mask)) - 1.0) < 1e-3


def test_padding_does_not_count_in_the_feature_loss() -> None:
    states = [torch.randn(50, 24) for _ in range(4)]
    projection = FeatureProjection(states, 6)
    teacher = EncoderOutput(torch.zeros(1, 2), tuple(s[None] for s in states))
    wrong_at_the_end = tuple(torch.cat([s[:40], s[40:] + 9])[None] for s in states)
    mask = (torch.arange(50) < 40).float()[None]
    loss = projection.loss(EncoderOutput(torch.zeros(1, 2), wrong_at_the_end), teacher, tiny_encoder.ARCH.full, mask)
    assert float(loss) == 0.0
