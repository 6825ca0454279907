"""Build the elastic layers of a transformer: norms, and a layer of attention and FFN whose forward pass takes a shape.

Shapes: b batch, n tokens, d hidden, h query heads, k KV heads, s head size, f FFN width. A KV head is cut together
with the query heads that read it, so the first h query heads always read the first k KV heads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgedistill.architecture import Architecture, LayerShape
from edgedistill.supernet.lowrank import ElasticLinear

__all__ = [
    "ACTIVATIONS",
    "AnyNorm",
    "ElasticLayer",
    "ElasticNorm",
    "ElasticRmsNorm",
    "Relations",
    "Rotations",
    "attention_bias",
    "build_norm",
    "rotations",
]

Relations = tuple[Tensor, Tensor, Tensor]
"""A layer's queries [b, h, n, s], keys and values, each [b, k, n, s]."""

Rotations = tuple[Tensor, Tensor]
"""Cosines and sines, each [n, s]."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "tanh": torch.tanh,
    "relu": F.relu,
}


class ElasticNorm(nn.Module):
    """Compute LayerNorm over the first d features."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(width), requires_grad=False)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x [..., d] → [..., d]."""
        d = x.shape[-1]
        return F.layer_norm(x, (d,), self.weight[:d], self.bias[:d], self.eps)

    @torch.no_grad()
    def reorder(self, order: Tensor) -> None:
        """Permute the features."""
        for tensor in (self.weight, self.bias):
            tensor.copy_(tensor[order].clone())


class ElasticRmsNorm(nn.Module):
    """Compute RMSNorm over the first d features."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width), requires_grad=False)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x [..., d] → [..., d]."""
        d = x.shape[-1]
        return F.rms_norm(x, (d,), self.weight[:d], self.eps)

    @torch.no_grad()
    def reorder(self, order: Tensor) -> None:
        """Permute the features."""
        self.weight.copy_(self.weight[order].clone())


AnyNorm = ElasticNorm | ElasticRmsNorm


def build_norm(arch: Architecture, eps: float, width: int = 0) -> AnyNorm:
    """Build the architecture's norm over a width, without one over the hidden width."""
    features = width or arch.hidden
    return ElasticRmsNorm(features, eps) if arch.norm == "rms" else ElasticNorm(features, eps)


class ElasticLayer(nn.Module):
    """Compute self-attention and FFN, each with its residual sum and a norm before or after it.

    Modules are registered in the order in which they compute, which is the order of stored optimizer states.
    """

    def __init__(self, arch: Architecture, scale: float, eps: float, dropout: float) -> None:
        super().__init__()
        d, size = arch.hidden, arch.head_size
        inner, shared = arch.heads * size, arch.kv_heads_of(arch.heads) * size
        self.arch, self.dropout = arch, dropout
        self.norm_first = arch.norm_place == "before"
        if self.norm_first:
            self.attention_norm = build_norm(arch, eps)
        self.query = ElasticLinear(inner, d, scale, bias=arch.qkv_bias)
        self.key = ElasticLinear(shared, d, scale, bias=arch.qkv_bias)
        self.value = ElasticLinear(shared, d, scale, bias=arch.qkv_bias)
        self.query_norm = ElasticRmsNorm(size, eps) if arch.qk_norm else None
        self.key_norm = ElasticRmsNorm(size, eps) if arch.qk_norm else None
        self.attention_output = ElasticLinear(d, inner, scale, bias=arch.output_bias)
        if not self.norm_first:
            self.attention_norm = build_norm(arch, eps)
        else:
            self.ffn_norm = build_norm(arch, eps)
        self.ffn_gate = ElasticLinear(arch.ffn, d, scale, bias=arch.ffn_bias) if arch.gated else None
        self.ffn_up = ElasticLinear(arch.ffn, d, scale, bias=arch.ffn_bias)
        self.ffn_down = ElasticLinear(d, arch.ffn, scale, bias=arch.ffn_bias)
        if not self.norm_first:
            self.ffn_norm = build_norm(arch, eps)

    def forward(
        self, x: Tensor, bias: Tensor, rotated: Rotations | None, shape: LayerShape
    ) -> tuple[Tensor, Relations]:
        """Run x [b, n, d] with a bias [b, 1, 1 or n, n] of 0 or a large negative number → [b, n, d], and q, k, v."""
        d, inner = x.shape[-1], shape.heads * self.arch.head_size
        relations = self._relate(self.attention_norm(x) if self.norm_first else x, rotated, shape)
        x = x + self._drop(self.attention_output(self._attend(relations, bias), d, inner))
        if self.norm_first:
            return x + self._drop(self._feed(self.ffn_norm(x), shape.ffn)), relations
        x = self.attention_norm(x)
        return self.ffn_norm(x + self._drop(self._feed(x, shape.ffn))), relations

    def _relate(self, x: Tensor, rotated: Rotations | None, shape: LayerShape) -> Relations:
        """Project x [b, n, d] → q [b, h, n, s], k and v [b, k, n, s]."""
        shared = self.arch.kv_heads_of(shape.heads)
        q = self._heads(self.query, x, shape.heads)
        k = self._heads(self.key, x, shared)
        v = self._heads(self.value, x, shared)
        if self.query_norm is not None and self.key_norm is not None:
            q, k = self.query_norm(q), self.key_norm(k)
        if rotated is not None:
            q, k = _rotate(q, rotated), _rotate(k, rotated)
        return q, k, v

    def _heads(self, linear: ElasticLinear, x: Tensor, heads: int) -> Tensor:
        b, n, d = x.shape
        flat: Tensor = linear(x, heads * self.arch.head_size, d)
        return flat.view(b, n, heads, self.arch.head_size).transpose(1, 2)

    def _attend(self, relations: Relations, bias: Tensor) -> Tensor:
        """Attend by q [b, h, n, s], k and v [b, k, n, s] → [b, n, h·s]."""
        q, k, v = relations
        dropout, grouped = self.dropout if self.training else 0.0, q.shape[1] != k.shape[1]
        context = F.scaled_dot_product_attention(q, k, v, bias, dropout, enable_gqa=grouped)
        return context.transpose(1, 2).flatten(2)

    def _feed(self, x: Tensor, width: int) -> Tensor:
        """Run the FFN: x [b, n, d] → [b, n, d]."""
        d, activation = x.shape[-1], ACTIVATIONS[self.arch.activation]
        up = self.ffn_up(x, width, d)
        inner = activation(up) if self.ffn_gate is None else activation(self.ffn_gate(x, width, d)) * up
        down: Tensor = self.ffn_down(inner, d, width)
        return down

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


def attention_bias(attention_mask: Tensor, dtype: torch.dtype, *, causal: bool) -> Tensor:
    """Turn a mask [b, n] of 1 and 0 into what is added to scores: 0 to attend to a token, else the least number.

    It is [b, 1, 1, n], or [b, 1, n, n] if query i attends to no key behind it.
    """
    allowed = attention_mask[:, None, None, :].bool()
    if causal:
        n = attention_mask.shape[1]
        allowed = allowed & torch.ones(n, n, dtype=torch.bool, device=attention_mask.device).tril()
    return (1.0 - allowed.to(dtype)) * torch.finfo(dtype).min


def rotations(n: int, size: int, theta: float, *, like: Tensor) -> Rotations:
    """Return cosines and sines [n, s] of the angle p·θ^(−2i/s) at position p, the same for features i and i + s/2.

    Rotary positions (arXiv 2104.09864, §3.4.2), a feature's partner being half a head away.
    """
    speeds = theta ** -(torch.arange(0, size, 2, device=like.device, dtype=torch.float32) / size)
    angles = torch.arange(n, device=like.device, dtype=torch.float32)[:, None] * speeds
    both = torch.cat((angles, angles), -1)
    return both.cos().to(like.dtype), both.sin().to(like.dtype)


def _rotate(x: Tensor, rotated: Rotations) -> Tensor:
    """Rotate x [b, h, n, s] by [n, s] → [b, h, n, s]."""
    first, second = x.chunk(2, -1)
    return x * rotated[0] + torch.cat((-second, first), -1) * rotated[1]
