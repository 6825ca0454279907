"""What a subnet learns from: the labels, the maxnet's logits, and the maxnet's features.

Shapes: b batch, n tokens, d hidden, c labels, p projected features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from edgedistill.subnet import SubnetConfig
from edgedistill.supernet.encoder import EncoderOutput

__all__ = ["FeatureProjection", "layer_map", "logit_loss"]


def logit_loss(student: Tensor, teacher: Tensor, labels: Tensor, *, alpha: float, temperature: float) -> Tensor:
    """(1 − α)·CE(labels) + α·T²·KL(teacher‖student) of logits [b, c], both softened by T (§3 of the paper)."""
    soft = F.kl_div(
        (student / temperature).log_softmax(-1),
        (teacher / temperature).log_softmax(-1),
        log_target=True,
        reduction="batchmean",
    )
    return (1 - alpha) * F.cross_entropy(student, labels) + alpha * temperature**2 * soft


def layer_map(subnet: SubnetConfig, depth: int) -> list[int]:
    """g(l): for each kept layer the maxnet's layer whose output it should have.

    It is the one before the next kept layer, so that a kept layer learns to stand in for those that were
    dropped behind it, and the last one for all the rest. (The paper has a map g_j(l); this choice is ours.)
    """
    return [following - 1 for following in subnet.kept[1:]] + [depth - 1]


class FeatureProjection:
    """The feature loss: distance of hidden states in the maxnet's own principal directions.

    The paper compares features through low-dimensional projections that are learnt for the maxnet only and
    sliced for the others. How they are learnt it does not say: here they are the first p principal
    directions of the maxnet's states after stage 0, which cannot collapse, fitted for each layer.
    """

    def __init__(self, states: Sequence[Tensor], dimensions: int) -> None:
        """``states``: for each layer a sample [m, d] of the maxnet's hidden states."""
        fitted = [_principal(sample, dimensions) for sample in states]
        self._bases = [basis for basis, _ in fitted]
        self._variances = [variance for _, variance in fitted]

    def loss(self, student: EncoderOutput, teacher: EncoderOutput, subnet: SubnetConfig, mask: Tensor) -> Tensor:
        """Mean over layers and tokens of the squared distance over the maxnet's variance; mask [b, n]."""
        depth, d = len(teacher.hidden), subnet.hidden
        losses = []
        for state, layer in zip(student.hidden, layer_map(subnet, depth), strict=True):
            basis = self._bases[layer]
            gap = state @ basis[:d] - teacher.hidden[layer].detach() @ basis
            squared = gap.square().sum(-1) / self._variances[layer]
            losses.append((squared * mask).sum() / mask.sum())
        return torch.stack(losses).mean()


def _principal(sample: Tensor, dimensions: int) -> tuple[Tensor, float]:
    """The basis [d, p] of the directions of most variance, and the variance that it holds."""
    centred = sample - sample.mean(0)
    _, spread, directions = torch.linalg.svd(centred, full_matrices=False)
    variance = spread[:dimensions].square().sum() / len(sample)
    return directions[:dimensions].T.contiguous(), max(float(variance), 1e-12)
