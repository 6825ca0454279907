"""Build a linear layer whose weight is frozen, repaired by low-rank pairs, and sliced on both sides.

Shapes: W0 [out, in], A [r, in], B [out, r]. With m ≤ out and n ≤ in, slicing Π keeps the first m rows
and n columns. Π is linear, so B[:m]·A[:, :n] is the slice of B·A: slicing the factors and slicing the
merged matrix give the same weight (arXiv 2404.01353, §3), and the rank is never cut.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ElasticLinear", "LowRankPair"]


class LowRankPair(nn.Module):
    """Hold A [r, in] and B [out, r] of one stage. B starts at zero, so a new pair changes nothing."""

    def __init__(self, rows: int, columns: int, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        bound = columns**-0.5
        start = torch.empty(rank, columns).uniform_(-bound, bound, generator=generator)
        self.A = nn.Parameter(start)
        self.B = nn.Parameter(torch.zeros(rows, rank))

    def product(self) -> Tensor:
        """Return B·A [out, in]."""
        return self.B @ self.A


class ElasticLinear(nn.Module):
    """Compute y = x·Wᵀ + b, W = W0 + s·Σ B·A over the stages so far; b is None where the model has none.

    A stage trains either one new pair or W0 itself. The sum of W0 and the earlier pairs is kept merged in
    ``merged``, so that a step of the first kind costs one narrow product more than a plain layer, and no
    gradient of W's size.
    """

    merged: Tensor

    def __init__(self, rows: int, columns: int, scale: float, *, bias: bool = True) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.zeros(rows, columns), requires_grad=False)
        if bias:
            self.bias = nn.Parameter(torch.zeros(rows), requires_grad=False)
        else:
            self.register_parameter("bias", None)
        self.pairs = nn.ModuleList()
        self.register_buffer("merged", torch.zeros(rows, columns), persistent=False)
        self._training: Literal["pair", "full"] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Return (out, in)."""
        return self.weight.shape[0], self.weight.shape[1]

    def begin_stage(self, rank: int | None, generator: torch.Generator) -> None:
        """Freeze what is there, and begin a stage: with a new pair, or for rank None with W0 itself.

        W0 then takes the pairs in first, so that it is all of W.
        """
        self.freeze()
        if rank is None:
            self._training = "full"
            self.weight.data.copy_(self.merged)
            self.weight.requires_grad_(True)
            self.pairs = nn.ModuleList()
        else:
            self._training = "pair"
            self.pairs.append(LowRankPair(*self.shape, rank, generator).to(self.weight.device))

    def freeze(self) -> None:
        """Merge every pair into ``merged``; nothing of this layer's matrix trains any more."""
        with torch.no_grad():
            self.merged = self.full_weight()
        self.weight.requires_grad_(False)
        self.pairs.requires_grad_(False)
        self._training = None

    def full_weight(self) -> Tensor:
        """Return W0 + s·Σ B·A [out, in], summed in fp32."""
        total = self.weight.detach().clone()
        for pair in self.pairs:
            assert isinstance(pair, LowRankPair)
            total += self.scale * pair.product()
        return total

    def forward(self, x: Tensor, rows: int, columns: int) -> Tensor:
        """Multiply x [..., columns] → [..., rows], by the first ``rows`` rows and ``columns`` columns of W."""
        weight = self.weight if self._training == "full" else self.merged
        y = F.linear(x, weight[:rows, :columns], None if self.bias is None else self.bias[:rows])
        if self._training != "pair":
            return y
        pair = self.pairs[-1]
        assert isinstance(pair, LowRankPair)
        return y + self.scale * F.linear(F.linear(x, pair.A[:, :columns]), pair.B[:rows])

    @torch.no_grad()
    def reorder(self, *, rows: Tensor | None = None, columns: Tensor | None = None) -> None:
        """Permute outputs or inputs: W0, bias and every pair, so that W is permuted."""
        pairs = [pair for pair in self.pairs if isinstance(pair, LowRankPair)]
        if rows is not None:
            biases = () if self.bias is None else (self.bias,)
            for tensor in (self.weight, *biases, self.merged, *(pair.B for pair in pairs)):
                tensor.copy_(tensor[rows].clone())
        if columns is not None:
            for tensor in (self.weight, self.merged, *(pair.A for pair in pairs)):
                tensor.copy_(tensor[:, columns].clone())

    @torch.no_grad()
    def keep_rows(self, rows: Tensor) -> None:
        """Drop every output but these, for good; nothing trains then, until another stage begins."""
        self.freeze()
        self.weight = nn.Parameter(self.weight[rows], requires_grad=False)
        self.merged = self.merged[rows]
        if self.bias is not None:
            self.bias = nn.Parameter(self.bias[rows], requires_grad=False)
        for pair in self.pairs:
            assert isinstance(pair, LowRankPair)
            pair.B = nn.Parameter(pair.B[rows], requires_grad=False)
