"""The elastic encoder: a post-norm transformer (BERT and its kin) whose forward pass takes a subnet.

Shapes: b batch, n tokens, d hidden, h heads, s head size, f FFN width, c outputs. There is no active
subnet: every call names its own, and slices are views of the one set of weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgedistill.architecture import Architecture, LayerShape, Subnet
from edgedistill.supernet.lowrank import ElasticLinear

__all__ = [
    "ElasticEncoder",
    "ElasticLayer",
    "ElasticNorm",
    "EncoderOutput",
    "Relations",
    "answer",
    "masked_bias",
    "mean_state",
]


Relations = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class EncoderOutput:
    """What one forward pass gives.

    Attributes:
        logits: [b, c], or [b, n, c] where each token is answered on its own.
        hidden: the output [b, n, d] of each kept layer, in order.
        relations: the last kept layer's queries, keys and values, each [b, h, n, s].
    """

    logits: Tensor
    hidden: tuple[Tensor, ...]
    relations: Relations


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

    @torch.no_grad()
    def reorder(self, order: Tensor) -> None:
        """Permute the features."""
        for tensor in (self.weight, self.bias):
            tensor.copy_(tensor[order].clone())


class ElasticEmbeddings(nn.Module):
    """Sum of word, position and token-type embeddings, normed. The tables are frozen."""

    def __init__(self, arch: Architecture, eps: float) -> None:
        super().__init__()
        self.word = nn.Embedding(arch.vocabulary, arch.hidden)
        self.position = nn.Embedding(arch.positions, arch.hidden)
        self.token_type = nn.Embedding(arch.token_types, arch.hidden) if arch.token_types else None
        self.norm = ElasticNorm(arch.hidden, eps)
        self.requires_grad_(False)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None, d: int) -> Tensor:
        """Both [b, n] int64 → [b, n, d]; token types are not read where there is no table of them."""
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        summed = self.word(input_ids) + self.position(positions)
        if self.token_type is not None:
            summed = summed + self.token_type(token_type_ids)
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

    def forward(self, x: Tensor, bias: Tensor, shape: LayerShape) -> tuple[Tensor, Relations]:
        """x [b, n, d], bias [b, 1, 1, n] (0 or a large negative number) → [b, n, d], and q, k, v [b, h, n, s]."""
        d, inner = x.shape[-1], shape.heads * self.head_size
        relations = self._relate(x, inner)
        attended = self.attention_output(self._attend(relations, bias), d, inner)
        x = self.attention_norm(x + self._drop(attended))
        up = F.gelu(self.ffn_up(x, shape.ffn, d))
        down = self.ffn_down(up, d, shape.ffn)
        return self.ffn_norm(x + self._drop(down)), relations

    def _relate(self, x: Tensor, inner: int) -> Relations:
        b, n, d = x.shape
        q, k, v = (
            linear(x, inner, d).view(b, n, -1, self.head_size).transpose(1, 2)
            for linear in (self.query, self.key, self.value)
        )
        return q, k, v

    def _attend(self, relations: Relations, bias: Tensor) -> Tensor:
        """q, k, v [b, h, n, s] → [b, n, h·s]."""
        q, k, v = relations
        scores = q @ k.transpose(2, 3) * self.head_size**-0.5 + bias
        weights = self._drop(scores.softmax(-1))
        context: Tensor = weights @ v
        return context.transpose(1, 2).flatten(2)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class ElasticEncoder(nn.Module):
    """A whole encoder with its head, as `Architecture` describes it."""

    def __init__(self, arch: Architecture, *, scale: float = 1.0, eps: float = 1e-12, dropout: float = 0.0) -> None:
        super().__init__()
        self.arch = arch
        self.eps = eps
        self.embeddings = ElasticEmbeddings(arch, eps)
        self.layers = nn.ModuleList(ElasticLayer(arch, scale, eps, dropout) for _ in range(arch.layers))
        self.dense = ElasticLinear(arch.hidden, arch.hidden, scale) if arch.dense else None
        self.classifier = nn.Linear(arch.hidden, arch.output_width)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None, subnet: Subnet
    ) -> EncoderOutput:
        """All inputs [b, n] int64; a mask of 1 keeps a token.

        Token types may be None where the architecture has no table of them.
        """
        x = self.embeddings(input_ids, token_type_ids, subnet.hidden)
        bias = masked_bias(attention_mask, x.dtype)
        hidden = []
        for shape in subnet.layers:
            x, relations = self.layers[shape.index](x, bias, shape)
            hidden.append(x)
        dense = self._dense if self.arch.dense else None
        logits = answer(self.arch, x, attention_mask, dense, self._classify)
        return EncoderOutput(logits, tuple(hidden), relations)

    def _dense(self, x: Tensor) -> Tensor:
        assert self.dense is not None
        result: Tensor = self.dense(x, x.shape[-1], x.shape[-1])
        return result

    def _classify(self, x: Tensor) -> Tensor:
        return F.linear(x, self.classifier.weight[:, : x.shape[-1]], self.classifier.bias)

    def elastic_linears(self) -> dict[str, ElasticLinear]:
        """Every elastic matrix by its name."""
        return {name: module for name, module in self.named_modules() if isinstance(module, ElasticLinear)}

    def begin_stage(self, rank: int | None, generator: torch.Generator) -> None:
        """Freeze what is there; a new pair of that rank for each matrix trains, or for None the matrix itself.

        Biases, norms and the classifier train in every stage, the embedding tables in none.
        """
        for linear in self.elastic_linears().values():
            linear.begin_stage(rank, generator)
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


def answer(
    arch: Architecture,
    x: Tensor,
    attention_mask: Tensor,
    dense: Callable[[Tensor], Tensor] | None,
    classifier: Callable[[Tensor], Tensor],
) -> Tensor:
    """The head: last states x [b, n, d] → [b, c], or [b, n, c] where each token is answered on its own."""
    if arch.pooling != "each":
        x = x[:, 0] if arch.pooling == "first" else mean_state(x, attention_mask)
    if dense is not None:
        x = torch.tanh(dense(x)) if arch.dense == "tanh" else F.relu(dense(x))
    logits = classifier(x)
    return F.normalize(logits, dim=-1) if arch.normalise else logits


def mean_state(x: Tensor, attention_mask: Tensor) -> Tensor:
    """Mean over the tokens that the mask [b, n] keeps: x [b, n, d] → [b, d]."""
    kept = attention_mask[:, :, None].to(x.dtype)
    return (x * kept).sum(1) / kept.sum(1)


def masked_bias(attention_mask: Tensor, dtype: torch.dtype) -> Tensor:
    """[b, n] of 1 and 0 → [b, 1, 1, n] of 0 and the dtype's least number, to add to attention scores."""
    return (1.0 - attention_mask[:, None, None, :].to(dtype)) * torch.finfo(dtype).min
