"""The elastic decoder: a pre-norm causal transformer (Llama, GPT-2 and their kin) whose forward pass takes a subnet.

Shapes: b batch, n tokens, d hidden, h query heads, k KV heads, s head size, f FFN width, v vocabulary. There is
no active subnet: every call names its own, and slices are views of the one set of weights. A KV head is kept or
cut with the query heads that read it, so the first h query heads always read the first k KV heads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgedistill.architecture import Architecture, LayerShape, Subnet
from edgedistill.supernet.encoder import ElasticEncoder, ElasticNorm
from edgedistill.supernet.lowrank import ElasticLinear

__all__ = [
    "ElasticDecoder",
    "ElasticDecoderLayer",
    "ElasticModel",
    "ElasticRmsNorm",
    "Rotations",
    "causal_bias",
    "rotations",
]

Rotations = tuple[Tensor, Tensor]
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
}


class ElasticRmsNorm(nn.Module):
    """RMSNorm over the first d features."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width), requires_grad=False)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """x [..., d] → [..., d]."""
        scale = torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps)
        return x * scale * self.weight[: x.shape[-1]]

    @torch.no_grad()
    def reorder(self, order: Tensor) -> None:
        """Permute the features."""
        self.weight.copy_(self.weight[order].clone())


class ElasticDecoderLayer(nn.Module):
    """Causal self-attention and FFN, each behind a norm and added to the residual stream."""

    def __init__(self, arch: Architecture, scale: float, eps: float, dropout: float) -> None:
        super().__init__()
        d, size = arch.hidden, arch.head_size
        inner, shared = arch.heads * size, arch.kv_heads * size
        self.arch = arch
        self.dropout = dropout
        self.attention_norm = _norm(arch, eps)
        self.query = ElasticLinear(inner, d, scale, bias=arch.qkv_bias)
        self.key = ElasticLinear(shared, d, scale, bias=arch.qkv_bias)
        self.value = ElasticLinear(shared, d, scale, bias=arch.qkv_bias)
        self.query_norm = ElasticRmsNorm(size, eps) if arch.qk_norm else None
        self.key_norm = ElasticRmsNorm(size, eps) if arch.qk_norm else None
        self.attention_output = ElasticLinear(d, inner, scale, bias=arch.output_bias)
        self.ffn_norm = _norm(arch, eps)
        self.ffn_gate = ElasticLinear(arch.ffn, d, scale, bias=arch.ffn_bias) if arch.gated else None
        self.ffn_up = ElasticLinear(arch.ffn, d, scale, bias=arch.ffn_bias)
        self.ffn_down = ElasticLinear(d, arch.ffn, scale, bias=arch.ffn_bias)

    def forward(self, x: Tensor, bias: Tensor, turned: Rotations | None, shape: LayerShape) -> Tensor:
        """x [b, n, d], bias [b, 1, n, n] of 0 or a large negative number, rotations [n, s] → [b, n, d]."""
        d, inner = x.shape[-1], shape.heads * self.arch.head_size
        q, k, v = self._relate(self.attention_norm(x), turned, shape)
        x = x + self._drop(self.attention_output(self._attend(q, k, v, bias), d, inner))
        return x + self._drop(self._feed(self.ffn_norm(x), shape.ffn))

    def _relate(self, x: Tensor, turned: Rotations | None, shape: LayerShape) -> tuple[Tensor, Tensor, Tensor]:
        """x [b, n, d] → q [b, h, n, s], k and v [b, k, n, s]."""
        shared = self.arch.kv_heads_of(shape.heads)
        q = self._heads(self.query, x, shape.heads)
        k = self._heads(self.key, x, shared)
        v = self._heads(self.value, x, shared)
        if self.query_norm is not None and self.key_norm is not None:
            q, k = self.query_norm(q), self.key_norm(k)
        if turned is not None:
            q, k = _rotate(q, turned), _rotate(k, turned)
        return q, k, v

    def _heads(self, linear: ElasticLinear, x: Tensor, heads: int) -> Tensor:
        b, n, d = x.shape
        flat: Tensor = linear(x, heads * self.arch.head_size, d)
        return flat.view(b, n, heads, self.arch.head_size).transpose(1, 2)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        """q [b, h, n, s], k and v [b, k, n, s] → [b, n, h·s]; a group's queries meet their keys in one product."""
        b, h, n, size = q.shape
        shared = k.shape[1]
        scores = q.reshape(b, shared, -1, size) @ k.transpose(2, 3) * size**-0.5
        weights = self._drop((scores.view(b, h, n, n) + bias).softmax(-1))
        context = weights.view(b, shared, -1, n) @ v
        return context.view(b, h, n, size).transpose(1, 2).flatten(2)

    def _feed(self, x: Tensor, width: int) -> Tensor:
        """x [b, n, d] → [b, n, d]."""
        d, activation = x.shape[-1], _ACTIVATIONS[self.arch.activation]
        up = self.ffn_up(x, width, d)
        inner = activation(up) if self.ffn_gate is None else activation(self.ffn_gate(x, width, d)) * up
        down: Tensor = self.ffn_down(inner, d, width)
        return down

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class ElasticDecoder(nn.Module):
    """A whole decoder with its head over the vocabulary, as `Architecture` describes it."""

    def __init__(self, arch: Architecture, *, scale: float = 1.0, eps: float = 1e-6, dropout: float = 0.0) -> None:
        super().__init__()
        self.arch = arch
        self.eps = eps
        self.word = nn.Embedding(arch.vocabulary, arch.hidden)
        self.position = nn.Embedding(arch.positions, arch.hidden) if arch.rope_theta is None else None
        self.layers = nn.ModuleList(ElasticDecoderLayer(arch, scale, eps, dropout) for _ in range(arch.layers))
        self.norm = _norm(arch, eps)
        self.head = None if arch.tied else ElasticLinear(arch.vocabulary, arch.hidden, scale, bias=False)
        self.requires_grad_(False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, subnet: Subnet) -> Tensor:
        """Both [b, n] int64, a mask of 1 keeps a token → logits [b, n, v].

        Positions are counted from 0 at the first of the n, padding or not. What is answered at padding means nothing.

        Raises:
            RecipeError: a layer's heads are no whole groups.
        """
        return self.answer(self.states(input_ids, attention_mask, subnet))

    def states(self, input_ids: Tensor, attention_mask: Tensor, subnet: Subnet) -> Tensor:
        """What `answer` makes logits of, behind the last norm: both [b, n] int64 → [b, n, d].

        Raises:
            RecipeError: a layer's heads are no whole groups.
        """
        d, n = subnet.hidden, input_ids.shape[1]
        x = self.word(input_ids)[..., :d]
        if self.position is not None:
            x = x + self.position(torch.arange(n, device=x.device))[:, :d]
        theta = self.arch.rope_theta
        turned = None if theta is None else rotations(n, self.arch.head_size, theta, like=x)
        bias = causal_bias(attention_mask, x.dtype)
        for shape in subnet.layers:
            x = self.layers[shape.index](x, bias, turned, shape)
        normed: Tensor = self.norm(x)
        return normed

    def answer(self, x: Tensor) -> Tensor:
        """States x [..., d] → logits [..., v]."""
        d = x.shape[-1]
        if self.head is None:
            return F.linear(x, self.word.weight[:, :d])
        logits: Tensor = self.head(x, self.arch.vocabulary, d)
        return logits

    def elastic_linears(self) -> dict[str, ElasticLinear]:
        """Every elastic matrix by its name: the layers' and an untied head."""
        return {name: module for name, module in self.named_modules() if isinstance(module, ElasticLinear)}

    def begin_stage(self, rank: int | None, generator: torch.Generator) -> None:
        """Freeze what is there; a new pair of that rank for each matrix trains, or for None the matrix itself.

        Biases and norms train in every stage, the embedding tables, and so a tied head, in none.
        """
        for linear in self.elastic_linears().values():
            linear.begin_stage(rank, generator)
            if linear.bias is not None:
                linear.bias.requires_grad_(True)
        for module in self.modules():
            if isinstance(module, ElasticNorm | ElasticRmsNorm):
                module.requires_grad_(True)

    def train_tables(self) -> None:
        """Let the embedding tables train too in this stage, and so a tied head: weights that begin at random must."""
        for table in (self.word, self.position):
            if table is not None:
                table.requires_grad_(True)

    def freeze(self) -> None:
        """End a stage: merge the pairs, and let nothing train."""
        for linear in self.elastic_linears().values():
            linear.freeze()
        self.requires_grad_(False)


ElasticModel = ElasticEncoder | ElasticDecoder


def causal_bias(attention_mask: Tensor, dtype: torch.dtype) -> Tensor:
    """[b, n] of 1 and 0 → [b, 1, n, n] of 0 where query i may read key j ≤ i, else the dtype's least number."""
    n = attention_mask.shape[1]
    causal = torch.ones(n, n, dtype=torch.bool, device=attention_mask.device).tril()
    allowed = causal & attention_mask[:, None, None, :].bool()
    return (1.0 - allowed.to(dtype)) * torch.finfo(dtype).min


def rotations(n: int, size: int, theta: float, *, like: Tensor) -> Rotations:
    """Cosines and sines [n, s] of the angle p·θ^(−2i/s) at position p, for features i and i + s/2 alike.

    Rotary positions (arXiv 2104.09864, §3.4.2), a feature's partner being half a head away.
    """
    speeds = theta ** -(torch.arange(0, size, 2, device=like.device, dtype=torch.float32) / size)
    angles = torch.arange(n, device=like.device, dtype=torch.float32)[:, None] * speeds
    both = torch.cat((angles, angles), -1)
    return both.cos().to(like.dtype), both.sin().to(like.dtype)


def _rotate(x: Tensor, turned: Rotations) -> Tensor:
    """x [b, h, n, s], rotations [n, s] → [b, h, n, s]."""
    first, second = x.chunk(2, -1)
    return x * turned[0] + torch.cat((-second, first), -1) * turned[1]


def _norm(arch: Architecture, eps: float) -> ElasticNorm | ElasticRmsNorm:
    return ElasticRmsNorm(arch.hidden, eps) if arch.norm == "rms" else ElasticNorm(arch.hidden, eps)
