"""Build the elastic transformer: one model of every architecture, whose forward pass takes a subnet.

Shapes: b batch, n tokens, d hidden, c outputs. The model holds no active subnet: every call names its own, and
slices are views of the one set of weights.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgedistill.architecture import Architecture, Subnet
from edgedistill.supernet.layers import (
    ACTIVATIONS,
    AnyNorm,
    ElasticLayer,
    Relations,
    attention_bias,
    build_norm,
    rotations,
)
from edgedistill.supernet.lowrank import ElasticLinear

__all__ = ["ElasticTransformer", "ModelOutput", "classify", "mean_state"]


@dataclass(frozen=True)
class ModelOutput:
    """Hold what one forward pass computes.

    Attributes:
        logits: [b, c], or [b, n, c] if each token gets an answer.
        hidden: the output [b, n, d] of each layer of the subnet, in order.
        relations: the last layer's queries, keys and values.
    """

    logits: Tensor
    hidden: tuple[Tensor, ...]
    relations: Relations


class ElasticEmbeddings(nn.Module):
    """Sum word, position and token-type embeddings, and norm them. The tables are frozen.

    Tables of a width of their own are not cut: a projection behind them gives the hidden width.
    """

    def __init__(self, arch: Architecture, eps: float) -> None:
        super().__init__()
        width = arch.table_width or arch.hidden
        self.word = nn.Embedding(arch.vocabulary, width)
        self.position = nn.Embedding(arch.positions, width)
        self.token_type = nn.Embedding(arch.token_types, width) if arch.token_types else None
        self.norm = build_norm(arch, eps, width)
        self.requires_grad_(False)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None, d: int) -> Tensor:
        """Embed ids and token types, [b, n] int64 → [b, n, d]; token types are not read without a table of them."""
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        summed = self.word(input_ids) + self.position(positions)
        if self.token_type is not None:
            summed = summed + self.token_type(token_type_ids)
        normed: Tensor = self.norm(summed[..., :d])
        return normed


class ElasticTransformer(nn.Module):
    """Compute a whole transformer with its head, as its `Architecture` describes it.

    A classifier has embeddings, perhaps a projection of them and a dense layer, and a classifier under these names; a
    language model has its tables, a last norm and, unless that is the table of words, a head.
    """

    def __init__(self, arch: Architecture, *, scale: float = 1.0, eps: float = 1e-12, dropout: float = 0.0) -> None:
        super().__init__()
        classifies = arch.outputs is not None
        self.arch = arch
        self.eps = eps
        self.embeddings = ElasticEmbeddings(arch, eps) if classifies else None
        self.projection = ElasticLinear(arch.hidden, arch.table_width, scale) if arch.table_width else None
        self.word = None if classifies else nn.Embedding(arch.vocabulary, arch.hidden)
        learned = arch.rope_theta is None and not classifies
        self.position = nn.Embedding(arch.positions, arch.hidden) if learned else None
        self.layers = nn.ModuleList(ElasticLayer(arch, scale, eps, dropout) for _ in range(arch.layers))
        self.norm = None if classifies else build_norm(arch, eps)
        untied = not classifies and not arch.tied
        self.head = ElasticLinear(arch.vocabulary, arch.hidden, scale, bias=False) if untied else None
        self.dense = ElasticLinear(arch.hidden, arch.hidden, scale) if arch.dense else None
        self.classifier = nn.Linear(arch.hidden, arch.output_width) if classifies else None
        for part in (self.word, self.position, self.norm):
            if part is not None:
                part.requires_grad_(False)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None, subnet: Subnet
    ) -> ModelOutput:
        """Run inputs [b, n] int64; a mask of 1 keeps a token.

        Token types may be None if the architecture has no table of them.

        Raises:
            RecipeError: a layer's heads are not whole groups.
        """
        passed = list(self._pass(input_ids, attention_mask, token_type_ids, subnet))
        hidden = tuple(x for x, _ in passed)
        return ModelOutput(self.answer(self._normed(hidden[-1]), attention_mask), hidden, passed[-1][1])

    def logits(
        self, input_ids: Tensor, attention_mask: Tensor, subnet: Subnet, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Return only the logits, [b, c] or [b, n, c].

        Positions are counted from 0 at the first of the n, padding or not. Answers at padding mean nothing.

        Raises:
            RecipeError: a layer's heads are not whole groups.
        """
        return self.answer(self.states(input_ids, attention_mask, subnet, token_type_ids), attention_mask)

    def states(
        self, input_ids: Tensor, attention_mask: Tensor, subnet: Subnet, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Return what `answer` makes logits of, behind any last norm: [b, n, d].

        Raises:
            RecipeError: a layer's heads are not whole groups.
        """
        x = deque(self._pass(input_ids, attention_mask, token_type_ids, subnet), maxlen=1)[0][0]
        return self._normed(x)

    def answer(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Run the head: x [b, n, d] → [b, c], or [b, n, c] if each token gets an answer; the mask is for a mean.

        A language model takes any states [..., d].
        """
        if self.classifier is not None:
            assert attention_mask is not None
            return classify(self.arch, x, attention_mask, self._dense if self.dense else None, self._classify)
        if self.head is None:
            return F.linear(x, self.word_table.weight[:, : x.shape[-1]])
        return self._linear(self.head, x, self.arch.vocabulary)

    @property
    def word_table(self) -> nn.Embedding:
        """Return the table of words."""
        table = self.word if self.embeddings is None else self.embeddings.word
        assert table is not None
        return table

    def tables(self) -> list[nn.Embedding]:
        """Return every embedding table."""
        return [module for module in self.modules() if isinstance(module, nn.Embedding)]

    def elastic_linears(self) -> dict[str, ElasticLinear]:
        """Return every elastic matrix by its name: those of the layers, the stem and the head."""
        return {name: module for name, module in self.named_modules() if isinstance(module, ElasticLinear)}

    def begin_stage(self, rank: int | None, generator: torch.Generator) -> None:
        """Freeze what is there; a new pair of that rank for each matrix trains, or for None the matrix itself.

        Biases, norms and the classifier train in every stage, the embedding tables, and so a tied head, in none.
        """
        for linear in self.elastic_linears().values():
            linear.begin_stage(rank, generator)
            if linear.bias is not None:
                linear.bias.requires_grad_(True)
        for module in self.modules():
            if isinstance(module, AnyNorm) or module is self.classifier:
                module.requires_grad_(True)

    def train_tables(self) -> None:
        """Let the embedding tables train too in this stage, and so a tied head: weights that begin at random must."""
        for table in self.tables():
            table.requires_grad_(True)

    def freeze(self) -> None:
        """End a stage: merge the pairs, and let nothing train."""
        for linear in self.elastic_linears().values():
            linear.freeze()
        self.requires_grad_(False)

    def _pass(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None, subnet: Subnet
    ) -> Iterator[tuple[Tensor, Relations]]:
        """Yield each layer's output [b, n, d], and its queries, keys and values."""
        x = self._embed(input_ids, token_type_ids, subnet.hidden)
        theta, n = self.arch.rope_theta, input_ids.shape[1]
        rotated = None if theta is None else rotations(n, self.arch.head_size, theta, like=x)
        bias = attention_bias(attention_mask, x.dtype, causal=self.arch.causal)
        for shape in subnet.layers:
            x, relations = self.layers[shape.index](x, bias, rotated, shape)
            yield x, relations

    def _embed(self, input_ids: Tensor, token_type_ids: Tensor | None, d: int) -> Tensor:
        if self.embeddings is not None:
            width = self.arch.table_width
            embedded: Tensor = self.embeddings(input_ids, token_type_ids, width or d)
            return embedded if self.projection is None else self._linear(self.projection, embedded, d)
        x: Tensor = self.word_table(input_ids)[..., :d]
        if self.position is not None:
            x = x + self.position(torch.arange(input_ids.shape[1], device=x.device))[:, :d]
        return x

    def _normed(self, x: Tensor) -> Tensor:
        normed: Tensor = x if self.norm is None else self.norm(x)
        return normed

    def _dense(self, x: Tensor) -> Tensor:
        assert self.dense is not None
        return self._linear(self.dense, x, x.shape[-1])

    def _linear(self, linear: ElasticLinear, x: Tensor, rows: int) -> Tensor:
        result: Tensor = linear(x, rows, x.shape[-1])
        return result

    def _classify(self, x: Tensor) -> Tensor:
        assert self.classifier is not None
        return F.linear(x, self.classifier.weight[:, : x.shape[-1]], self.classifier.bias)


def classify(
    arch: Architecture,
    x: Tensor,
    attention_mask: Tensor,
    dense: Callable[[Tensor], Tensor] | None,
    classifier: Callable[[Tensor], Tensor],
) -> Tensor:
    """Compute the head of a classifier: last states x [b, n, d] → [b, c], or [b, n, c] if each token gets an answer."""
    if arch.pooling != "each":
        x = x[:, 0] if arch.pooling == "first" else mean_state(x, attention_mask)
    if dense is not None and arch.dense is not None:
        x = ACTIVATIONS[arch.dense](dense(x))
    logits = classifier(x)
    return F.normalize(logits, dim=-1) if arch.normalise else logits


def mean_state(x: Tensor, attention_mask: Tensor) -> Tensor:
    """Average over the tokens that the mask [b, n] keeps: x [b, n, d] → [b, d]."""
    weights = attention_mask[:, :, None].to(x.dtype)
    return (x * weights).sum(1) / weights.sum(1)
