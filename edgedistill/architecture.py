"""Describe a transformer, its subnets, and what they cost. No torch.

Shapes: d = hidden width, h = query heads, k = KV heads, s = head size (never cut), f = FFN width, V = vocabulary.
A layer's weight matrices are query [h·s, d], key and value [k·s, d], output [d, h·s], FFN up and, if it is gated,
gate [f, d], and down [d, f].
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

from edgedistill.errors import RecipeError

__all__ = ["MAX_LAYERS", "Activation", "Architecture", "LayerShape", "SearchSpace", "Subnet", "check_depth"]

Activation = Literal["silu", "gelu", "gelu_tanh"]

MAX_LAYERS = 1_000  # building a model of millions of layers would take all memory


def check_depth(layers: int) -> None:
    """Refuse more layers than any model has.

    Raises:
        ValueError: there are more than `MAX_LAYERS`.
    """
    if layers > MAX_LAYERS:
        raise ValueError(f"a model of {layers} layers; expected at most {MAX_LAYERS:,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Describe a pretrained transformer at full size, with its head. The defaults are BERT's.

    Attributes:
        positions: how many tokens it was trained for; rows of the position table if positions are learned.
        kv_heads: as many as heads (multi-head attention), fewer (grouped queries) or 1 (multi-query); 0 for as many.
        causal: whether a token attends only to itself and the tokens before it.
        norm_place: ``after`` each residual sum and the embeddings, or ``before`` attention, FFN and head.
        rope_theta: the base of rotary positions; None if positions are learned.
        gated: whether the FFN is down(activation(gate(x))·up(x)) instead of down(activation(up(x))).
        qkv_bias, output_bias, ffn_bias: which matrices have a bias: queries, keys and values; the attention's
            output; those of the FFN.
        qk_norm: whether queries and keys are normed, head by head.
        table_width: of an encoder's embedding tables, if a projection [d, table width] brings them to the hidden width;
            0 for tables as wide as that.
        token_types: rows of the token-type table; 0 if there is none, and then graphs have no such input.
        outputs: how many numbers a classifier gives: classes, 1 for a regression, the teacher's dimension for
            embeddings. None for a language model, whose head is over the vocabulary.
        tied: whether that head is the embedding table.
        pooling: what a classifier reads: the first token's state, the mean over tokens, or each token on its own.
        dense: the activation of a layer [d, d] behind the pooling; None without such a layer.
        normalise: whether the outputs are scaled to unit length.
    """

    model_type: str
    layers: int
    hidden: int
    heads: int
    head_size: int
    ffn: int
    vocabulary: int
    positions: int
    kv_heads: int = 0
    causal: bool = False
    norm: Literal["layer", "rms"] = "layer"
    norm_place: Literal["after", "before"] = "after"
    rope_theta: float | None = None
    gated: bool = False
    activation: Activation = "gelu"
    qkv_bias: bool = True
    output_bias: bool = True
    ffn_bias: bool = True
    qk_norm: bool = False
    table_width: int = 0
    token_types: int = 0
    outputs: int | None = None
    tied: bool = False
    pooling: Literal["first", "mean", "each"] = "first"
    dense: Literal["tanh", "relu", "gelu"] | None = None
    normalise: bool = False

    def __post_init__(self) -> None:
        check_depth(self.layers)

    @property
    def full(self) -> Subnet:
        """Return the subnet that is the whole model."""
        return Subnet.uniform(range(self.layers), hidden=self.hidden, heads=self.heads, ffn=self.ffn)

    @property
    def output_width(self) -> int:
        """Return how many numbers the head gives at once."""
        return self.vocabulary if self.outputs is None else self.outputs

    @property
    def group(self) -> int:
        """Return how many query heads are cut together: those of one KV head, or 1 if all share the only one."""
        return 1 if self.kv_heads in (0, 1) else self.heads // self.kv_heads

    def kv_heads_of(self, heads: int) -> int:
        """Return how many KV heads that many query heads read.

        Raises:
            RecipeError: the query heads are not whole groups.
        """
        if heads % self.group or not 0 < heads <= self.heads:
            raise RecipeError(
                f"{heads} query heads are not whole groups of this model's {self.heads}; "
                f"take a multiple of {self.group}, up to {self.heads}"
            )
        return 1 if self.kv_heads == 1 else heads // self.group

    def alone(self, subnet: Subnet) -> Architecture:
        """Return the architecture of a model that is this subnet, of equal layers, and no more."""
        first = subnet.layers[0]
        return replace(
            self,
            layers=len(subnet.layers),
            hidden=subnet.hidden,
            heads=first.heads,
            kv_heads=self.kv_heads and self.kv_heads_of(first.heads),
            ffn=first.ffn,
        )

    def layer_parameters(self, subnet: Subnet) -> int:
        """Count the entries of the subnet's layer matrices: no biases, norms, embeddings or head."""
        return sum(self._matrices(layer, subnet.hidden) for layer in subnet.layers)

    def total_parameters(self, subnet: Subnet) -> int:
        """Count everything in the subnet, the tables and the head included; a tied head is counted once."""
        d = subnet.hidden
        positions = self.positions if self.rope_theta is None else 0
        e = self.table_width or d
        tables = (self.vocabulary + positions + self.token_types) * e + (d * e + d if self.table_width else 0)
        vectors = sum(self._vectors(layer, d) for layer in subnet.layers) + self._norm(e)
        return tables + self.layer_parameters(subnet) + vectors + self._head_matrices(d) + self._head_biases(d)

    def macs(self, subnet: Subnet, *, tokens: int) -> int:
        """Count multiply-accumulates of one forward pass over one sequence of ``tokens`` tokens, with its head."""
        each = self.outputs is None or self.pooling == "each"
        dense = subnet.hidden**2 if self.dense else 0
        head = (tokens if each else 1) * (dense + subnet.hidden * self.output_width)
        by_token = self.layer_parameters(subnet) + self.table_width * subnet.hidden
        return tokens * by_token + self.attention_macs(subnet, tokens=tokens) + head

    def attention_macs(self, subnet: Subnet, *, tokens: int) -> int:
        """Count those of queries with keys and of weights with values, what a causal mask hides included."""
        return sum(2 * tokens * tokens * layer.heads * self.head_size for layer in subnet.layers)

    def _matrices(self, layer: LayerShape, d: int) -> int:
        heads = 2 * layer.heads + 2 * self.kv_heads_of(layer.heads)
        return heads * self.head_size * d + (3 if self.gated else 2) * layer.ffn * d

    def _vectors(self, layer: LayerShape, d: int) -> int:
        inner = (layer.heads + 2 * self.kv_heads_of(layer.heads)) * self.head_size
        norms = 2 * self._norm(d) + (2 * self.head_size if self.qk_norm else 0)
        ffn = layer.ffn * (2 if self.gated else 1) + d
        return norms + inner * self.qkv_bias + d * self.output_bias + ffn * self.ffn_bias

    def _norm(self, d: int) -> int:
        return d if self.norm == "rms" else 2 * d

    def _head_matrices(self, d: int) -> int:
        return (0 if self.tied else self.output_width * d) + (d * d if self.dense else 0)

    def _head_biases(self, d: int) -> int:
        return 0 if self.outputs is None else self.outputs + (d if self.dense else 0)


@dataclass(frozen=True, slots=True)
class LayerShape:
    """Describe one layer of a subnet: its index in the supernet (from 0), and its first heads and FFN neurons."""

    index: int
    heads: int
    ffn: int


@dataclass(frozen=True, slots=True)
class Subnet:
    """Describe a slice of the supernet: its layers, each with its widths, and the hidden width of all."""

    layers: tuple[LayerShape, ...]
    hidden: int

    @classmethod
    def uniform(cls, layers: Sequence[int], *, hidden: int, heads: int, ffn: int) -> Subnet:
        """Build a subnet with the same widths in every layer."""
        return cls(tuple(LayerShape(index, heads, ffn) for index in layers), hidden)

    @property
    def kept(self) -> tuple[int, ...]:
        """Return the indices of its layers."""
        return tuple(layer.index for layer in self.layers)

    @property
    def name(self) -> str:
        """Return a short stable name: depth and widths, or depth, hidden and a digest if layers differ."""
        depth, first = len(self.layers), self.layers[0]
        if all((la.heads, la.ffn) == (first.heads, first.ffn) for la in self.layers):
            return f"l{depth}-d{self.hidden}-h{first.heads}-f{first.ffn}"
        digest = hashlib.sha256(repr(self.layers).encode()).hexdigest()[:8]
        return f"l{depth}-d{self.hidden}-x{digest}"


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """Describe which subnets exist: every combination of the choices below, each tuple from large to small.

    One set of layers for each depth, so that a depth names its layers.
    """

    layers: tuple[tuple[int, ...], ...]
    hidden: tuple[int, ...]
    heads: tuple[int, ...]
    ffn: tuple[int, ...]

    def __post_init__(self) -> None:
        if not all((self.layers, self.hidden, self.heads, self.ffn)):
            raise ValueError(f"a search space needs at least one choice on each axis; got {self}")

    @property
    def maxnet(self) -> Subnet:
        """Return the largest subnet."""
        return Subnet.uniform(self.layers[0], hidden=self.hidden[0], heads=self.heads[0], ffn=self.ffn[0])

    @property
    def minnet(self) -> Subnet:
        """Return the smallest subnet."""
        return Subnet.uniform(self.layers[-1], hidden=self.hidden[-1], heads=self.heads[-1], ffn=self.ffn[-1])

    def middle(self, arch: Architecture) -> Subnet:
        """Return the subnet whose layer parameters are nearest to half of the model's."""
        half = arch.layer_parameters(arch.full) / 2
        return min(self, key=lambda subnet: abs(arch.layer_parameters(subnet) - half))

    def at_full_depth(self) -> SearchSpace:
        """Return the subspace of stage 1: widths vary, depth does not."""
        return replace(self, layers=self.layers[:1])

    def sample(self, rng: random.Random) -> Subnet:
        """Draw a subnet uniformly over each choice."""
        return Subnet.uniform(
            rng.choice(self.layers),
            hidden=rng.choice(self.hidden),
            heads=rng.choice(self.heads),
            ffn=rng.choice(self.ffn),
        )

    def __iter__(self) -> Iterator[Subnet]:
        for layers, hidden, heads, ffn in product(self.layers, self.hidden, self.heads, self.ffn):
            yield Subnet.uniform(layers, hidden=hidden, heads=heads, ffn=ffn)

    def __len__(self) -> int:
        return len(self.layers) * len(self.hidden) * len(self.heads) * len(self.ffn)
