"""The elastic encoder: a post-norm transformer (BERT and its kin) whose forward pass takes a subnet.

Shapes: b batch, n tokens, d hidden, h heads, s head size, f FFN width, c labels. There is no active
subnet: every call names its own, and slices are views of the one set of weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgedistill.subnet import Architecture, LayerShape, SubnetConfig
from edgedistill.supernet.lowrank import ElasticLinear

__all__ = ["ElasticEncoder", "ElasticLayer", "ElasticNorm", "EncoderOutput", "masked_bias", "mean_state"]


@dataclass(frozen=True)
class EncoderOutput:
    """``logits`` [b, c]; ``hidden`` the output [b, n, d] of each kept layer, in order."""

    logits: Tensor
    hidden: tuple[Tensor, ...]


class ElasticNorm(nn.Module):
    """LayerNorm over the first d features."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(width), requires_grad=False)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """x [..., d] → [..., d]."""
        d = x.shape[-1]
        return F.layer_norm(x, (d,), self.weight[:d], self.bias[:d], self.eps)


class ElasticEmbeddings(nn.Module):
    """Sum of word, position and token-type embeddings, normed. The tables are frozen."""

    def __init__(self, arch: Architecture, eps: float) -> None:
        super().__init__()
        self.word = nn.Embedding(arch.vocabulary, arch.hidden)
        self.position = nn.Embedding(arch.positions, arch.hidden)
        self.token_type = nn.Embedding(arch.token_types, arch.hidden)
        self.norm = ElasticNorm(arch.hidden, eps)
        self.requires_grad_(False)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor, d: int) -> Tensor:
        """Both [b, n] int64 → [b, n, d]."""
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        summed = self.word(input_ids) + self.position(positions) + self.token_type(token_type_ids)
        normed: Tensor = self.norm(summed[..., :d])
        return normed


class ElasticLayer(nn.Module):
    """Self-attention and FFN, each with its residual and norm after it."""

    def __init__(self, arch: Architecture, scale: float, eps: float, dropout: float) -> None:
        super().__init__()
        d, inner = arch.hidden, arch.heads * arch.head_size
        self.head_size = arch.head_size
        self.dropout = dropout
        self.query = ElasticLinear(inner, d, scale)
        self.key = ElasticLinear(inner, d, scale)
        self.value = ElasticLinear(inner, d, scale)
        self.attention_output = ElasticLinear(d, inner, scale)
        self.attention_norm = ElasticNorm(d, eps)
        self.ffn_up = ElasticLinear(arch.ffn, d, scale)
        self.ffn_down = ElasticLinear(d, arch.ffn, scale)
        self.ffn_norm = ElasticNorm(d, eps)

    def forward(self, x: Tensor, bias: Tensor, shape: LayerShape) -> Tensor:
        """x [b, n, d], bias [b, 1, 1, n] (0 or a large negative number) → [b, n, d]."""
        d, inner = x.shape[-1], shape.heads * self.head_size
        attended = self.attention_output(self._attend(x, bias, inner), d, inner)
        x = self.attention_norm(x + self._drop(attended))
        up = F.gelu(self.ffn_up(x, shape.ffn, d))
        down = self.ffn_down(up, d, shape.ffn)
        normed: Tensor = self.ffn_norm(x + self._drop(down))
        return normed

    def _attend(self, x: Tensor, bias: Tensor, inner: int) -> Tensor:
        b, n, d = x.shape
        q, k, v = (
            linear(x, inner, d).view(b, n, -1, self.head_size).transpose(1, 2)
            for linear in (self.query, self.key, self.value)
        )
        scores = q @ k.transpose(2, 3) * self.head_size**-0.5 + bias
        weights = self._drop(scores.softmax(-1))
        context: Tensor = weights @ v
        return context.transpose(1, 2).reshape(b, n, inner)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class ElasticEncoder(nn.Module):
    """A whole encoder with its classification head, as `Architecture` describes it."""

    def __init__(self, arch: Architecture, *, scale: float = 1.0, eps: float = 1e-12, dropout: float = 0.0) -> None:
        super().__init__()
        self.arch = arch
        self.eps = eps
        self.embeddings = ElasticEmbeddings(arch, eps)
        self.layers = nn.ModuleList(ElasticLayer(arch, scale, eps, dropout) for _ in range(arch.layers))
        self.pooler = ElasticLinear(arch.hidden, arch.hidden, scale) if arch.pooling == "first" else None
        self.classifier = nn.Linear(arch.hidden, arch.labels)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor, subnet: SubnetConfig
    ) -> EncoderOutput:
        """All inputs [b, n] int64; a mask of 1 keeps a token."""
        d = subnet.hidden
        x = self.embeddings(input_ids, token_type_ids, d)
        bias = masked_bias(attention_mask, x.dtype)
        hidden = []
        for shape in subnet.layers:
            x = self.layers[shape.index](x, bias, shape)
            hidden.append(x)
        pooled = self._pool(x, attention_mask)
        logits = F.linear(pooled, self.classifier.weight[:, :d], self.classifier.bias)
        return EncoderOutput(logits, tuple(hidden))

    def _pool(self, x: Tensor, attention_mask: Tensor) -> Tensor:
        """x [b, n, d] → [b, d]."""
        if self.pooler is None:
            return mean_state(x, attention_mask)
        return torch.tanh(self.pooler(x[:, 0], x.shape[-1], x.shape[-1]))

    def elastic_linears(self) -> dict[str, ElasticLinear]:
        """Every elastic matrix by its name."""
        return {name: module for name, module in self.named_modules() if isinstance(module, ElasticLinear)}

    def begin_stage(self, rank: int, generator: torch.Generator) -> None:
        """Freeze the pairs so far, add a new one to each matrix, and let biases, norms and the head train."""
        for linear in self.elastic_linears().values():
            linear.add_pair(rank, generator)
            linear.bias.requires_grad_(True)
        for module in self.modules():
            if isinstance(module, ElasticNorm):
                module.requires_grad_(True)
        self.classifier.requires_grad_(True)

    def freeze(self) -> None:
        """End a stage: merge the pairs, and let nothing train."""
        for linear in self.elastic_linears().values():
            linear.freeze()
        self.requires_grad_(False)


def mean_state(x: Tensor, attention_mask: Tensor) -> Tensor:
    """Mean over the tokens that the mask [b, n] keeps: x [b, n, d] → [b, d]."""
    kept = attention_mask[:, :, None].to(x.dtype)
    return (x * kept).sum(1) / kept.sum(1)


def masked_bias(attention_mask: Tensor, dtype: torch.dtype) -> Tensor:
    """[b, n] of 1 and 0 → [b, 1, 1, n] of 0 and the dtype's least number, to add to attention scores."""
    return (1.0 - attention_mask[:, None, None, :].to(dtype)) * torch.finfo(dtype).min
