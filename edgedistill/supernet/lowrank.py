"""A linear layer whose weight is frozen, repaired by low-rank pairs, and sliced on both sides.

Shapes: W0 [out, in], A [r, in], B [out, r]. With m ≤ out and n ≤ in, slicing Π keeps the first m rows
and n columns. Π is linear, so B[:m]·A[:, :n] is the slice of B·A: slicing the factors and slicing the
merged matrix give the same weight (arXiv 2404.01353, §3), and the rank is never cut.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ElasticLinear", "LowRankPair"]


class LowRankPair(nn.Module):
    """A [r, in] and B [out, r] of one stage. B starts at zero, so a new pair changes nothing."""

    def __init__(self, rows: int, columns: int, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        bound = columns**-0.5
        start = torch.empty(rank, columns).uniform_(-bound, bound, generator=generator)
        self.A = nn.Parameter(start)
        self.B = nn.Parameter(torch.zeros(rows, rank))

    def product(self) -> Tensor:
        """B·A [out, in]."""
        return self.B @ self.A


class ElasticLinear(nn.Module):
    """y = x·Wᵀ + b, W = W0 + s·Σ B·A over the stages so far.

    Only the last pair can be training. The sum of W0 and the earlier pairs is kept merged in ``merged``,
    so that a step costs one narrow product more than a plain layer, and no gradient of W's size.
    """

    merged: Tensor

    def __init__(self, rows: int, columns: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.zeros(rows, columns), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(rows), requires_grad=False)
        self.pairs = nn.ModuleList()
        self.register_buffer("merged", torch.zeros(rows, columns), persistent=False)
        self.training_pair = False

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        return self.weight.shape[0], self.weight.shape[1]

    def add_pair(self, rank: int, generator: torch.Generator) -> None:
        """Freeze what is there and begin a stage with a new pair."""
        self.freeze()
        pair = LowRankPair(*self.shape, rank, generator).to(self.weight.device)
        self.pairs.append(pair)
        self.training_pair = True

    def freeze(self) -> None:
        """Merge every pair into ``merged``; nothing of this layer's matrix trains any more."""
        with torch.no_grad():
            self.merged = self.full_weight()
        self.pairs.requires_grad_(False)
        self.training_pair = False

    def full_weight(self) -> Tensor:
        """W0 + s·Σ B·A [out, in], summed in fp32."""
        total = self.weight.detach().clone()
        for pair in self.pairs:
            assert isinstance(pair, LowRankPair)
            total += self.scale * pair.product()
        return total

    def forward(self, x: Tensor, rows: int, columns: int) -> Tensor:
        """x [..., columns] → [..., rows], by the first ``rows`` rows and ``columns`` columns of W."""
        y = F.linear(x, self.merged[:rows, :columns], self.bias[:rows])
        if not self.training_pair:
            return y
        pair = self.pairs[-1]
        assert isinstance(pair, LowRankPair)
        return y + self.scale * F.linear(F.linear(x, pair.A[:, :columns]), pair.B[:rows])

    @torch.no_grad()
    def reorder(self, *, rows: Tensor | None = None, columns: Tensor | None = None) -> None:
        """Permute outputs or inputs: W0, bias and every pair alike, so that W is permuted."""
        pairs = [pair for pair in self.pairs if isinstance(pair, LowRankPair)]
        if rows is not None:
            for tensor in (self.weight, self.bias, self.merged, *(pair.B for pair in pairs)):
                tensor.copy_(tensor[rows].clone())
        if columns is not None:
            for tensor in (self.weight, self.merged, *(pair.A for pair in pairs)):
                tensor.copy_(tensor[:, columns].clone())
