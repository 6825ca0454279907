"""Losses that a subnet has next to those of its outputs: the maxnet's features, as projected states or as relations.

Shapes: b batch, n tokens, d hidden, h heads, s head size, p projected features. Every loss is a sum over
the rows or tokens of a batch, so that parts of a batch add up to the whole whatever they are cut into.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from edgedistill.architecture import Subnet
from edgedistill.supernet.model import ModelOutput

__all__ = ["FeatureLoss", "FeatureProjection", "NoFeatures", "RelationLoss", "layer_map"]


class FeatureLoss(Protocol):
    """Distance of a subnet's features from the maxnet's, summed over the tokens that the mask [b, n] keeps."""

    def __call__(self, student: ModelOutput, teacher: ModelOutput, subnet: Subnet, mask: Tensor, /) -> Tensor:
        """Return a scalar; the teacher's features get no gradient."""


class NoFeatures:
    """Outputs alone."""

    def __call__(self, student: ModelOutput, _teacher: ModelOutput, _subnet: Subnet, _mask: Tensor, /) -> Tensor:
        """Return zero."""
        return student.logits.new_zeros(())


def layer_map(subnet: Subnet, depth: int) -> list[int]:
    """Return g(l): for each kept layer the maxnet's layer whose output it should have.

    It is the one before the next kept layer, so that a kept layer learns to stand in for those that were
    dropped behind it, and the last one for all the rest. (The paper has a map g_j(l); this choice is ours.)
    """
    return [following - 1 for following in subnet.kept[1:]] + [depth - 1]


class FeatureProjection:
    """The feature loss: distance of hidden states in the maxnet's own principal directions.

    The paper compares features through low-dimensional projections that are learnt for the maxnet only and
    sliced for the others. How they are learnt it does not say: here they are the first p principal
    directions of the maxnet's states at the stage's start, which cannot collapse, fitted for each layer.
    """

    def __init__(self, bases: Tensor, variances: Tensor) -> None:
        """Take ``bases`` [layers, d, p] and the ``variances`` [layers] of the states in them; see `fit`."""
        self.bases = bases
        self.variances = variances

    @classmethod
    def fit(cls, states: Sequence[Tensor], dimensions: int) -> FeatureProjection:
        """Fit to ``states``: for each layer a sample [m, d] of the maxnet's hidden states; m ≥ ``dimensions``."""
        fitted = [_principal(sample, dimensions) for sample in states]
        return cls(torch.stack([basis for basis, _ in fitted]), torch.stack([variance for _, variance in fitted]))

    def __call__(self, student: ModelOutput, teacher: ModelOutput, subnet: Subnet, mask: Tensor, /) -> Tensor:
        """Return the squared distance over the maxnet's variance, mean over layers."""
        depth, d = len(teacher.hidden), subnet.hidden
        losses = []
        for state, layer in zip(student.hidden, layer_map(subnet, depth), strict=True):
            basis = self.bases[layer]
            gap = state @ basis[:d] - teacher.hidden[layer].detach() @ basis
            losses.append((gap.square().sum(-1) / self.variances[layer] * mask).sum())
        return torch.stack(losses).mean()


def _principal(sample: Tensor, dimensions: int) -> tuple[Tensor, Tensor]:
    """Return the basis [d, p] of the directions of most variance, and the variance that it holds."""
    centred = sample - sample.mean(0)
    _, spread, directions = torch.linalg.svd(centred, full_matrices=False)
    variance = spread[:dimensions].square().sum() / len(sample)
    return directions[:dimensions].T.contiguous(), variance.clamp_min(1e-12)


class RelationLoss:
    """MiniLMv2's (arXiv 2012.15828): how tokens relate by queries, keys and values of the last layer.

    Heads are joined and cut into as many relation heads as every subnet can have, so that their number does
    not matter.
    """

    def __init__(self, relation_heads: int) -> None:
        self._heads = relation_heads

    def __call__(self, student: ModelOutput, teacher: ModelOutput, _subnet: Subnet, mask: Tensor, /) -> Tensor:
        """Return KL(teacher‖student) of the softmaxed relations, mean over relation heads and the three kinds."""
        losses = [
            self._divergence(theirs, ours.detach(), mask)
            for theirs, ours in zip(student.relations, teacher.relations, strict=True)
        ]
        return torch.stack(losses).mean()

    def _divergence(self, student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
        ours, theirs = (self._relation(x, mask) for x in (student, teacher))
        a_token = F.kl_div(ours, theirs, reduction="none", log_target=True).sum(-1).mean(1)
        return (a_token * mask).sum()

    def _relation(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return the log-softmax of scaled products [b, relation heads, n, n] of x [b, h, n, s]."""
        b, _, n, _ = x.shape
        parts = x.transpose(1, 2).reshape(b, n, self._heads, -1).transpose(1, 2)
        products: Tensor = parts @ parts.transpose(2, 3) * parts.shape[-1] ** -0.5
        least = torch.finfo(products.dtype).min
        return products.masked_fill(mask[:, None, None, :] == 0, least).log_softmax(-1)
