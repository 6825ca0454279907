"""The shared vocabulary: what a subnet is, and what it costs. No torch.

Shapes: d = hidden width, h = heads, s = head size (never cut), f = FFN width, V = vocabulary.
A layer's weight matrices are query, key, value [h·s, d], output [d, h·s], FFN up [f, d] and down [d, f].
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from edgedistill.decoder_architecture import AnyArchitecture

__all__ = ["MAX_LAYERS", "Architecture", "LayerShape", "SearchSpace", "SubnetConfig", "check_depth"]

MAX_LAYERS = 1_000  # building a model of millions of layers would take all memory


def check_depth(layers: int) -> None:
    """Refuse more layers than any model has.

    Raises:
        ValueError: there are more than `MAX_LAYERS`.
    """
    if layers > MAX_LAYERS:
        raise ValueError(f"a model of {layers} layers; expected at most {MAX_LAYERS:,}")


@dataclass(frozen=True, slots=True)
class Architecture:
    """The dimensions of a pretrained encoder at full size, with its head.

    Attributes:
        token_types: rows of the token-type table; 0 where there is none, and then graphs have no such input.
        outputs: how many numbers come out: classes, 1 for a regression, the teacher's dimension for embeddings.
        pooling: what the head reads: the first token's state, the mean over tokens, or each token on its own.
        dense: the activation of a layer [d, d] behind the pooling; None where there is no such layer.
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
    token_types: int
    outputs: int
    pooling: Literal["first", "mean", "each"] = "first"
    dense: Literal["tanh", "relu"] | None = "tanh"
    normalise: bool = False

    def __post_init__(self) -> None:
        check_depth(self.layers)

    @property
    def full(self) -> SubnetConfig:
        """The configuration that keeps everything."""
        return SubnetConfig.uniform(range(self.layers), hidden=self.hidden, heads=self.heads, ffn=self.ffn)

    @property
    def group(self) -> int:
        """How many heads are kept or cut together."""
        return 1

    def layer_parameters(self, subnet: SubnetConfig) -> int:
        """Entries of the layers' weight matrices that are kept: no biases, norms, embeddings or head."""
        return sum(4 * subnet.hidden * la.heads * self.head_size + 2 * subnet.hidden * la.ffn for la in subnet.layers)

    def total_parameters(self, subnet: SubnetConfig) -> int:
        """Everything the subnet keeps, the embedding table and the head included."""
        d = subnet.hidden
        embeddings = (self.vocabulary + self.positions + self.token_types) * d + 2 * d
        vectors = sum(3 * la.heads * self.head_size + d + la.ffn + d + 4 * d for la in subnet.layers)
        head = (d * d + d if self.dense else 0) + self.outputs * d + self.outputs
        return embeddings + self.layer_parameters(subnet) + vectors + head

    def macs(self, subnet: SubnetConfig, *, tokens: int) -> int:
        """Multiply-accumulates of one forward pass over one sequence of ``tokens`` tokens."""
        d = subnet.hidden
        head = (d * d if self.dense else 0) + d * self.outputs
        heads = tokens if self.pooling == "each" else 1
        return tokens * self.layer_parameters(subnet) + self.attention_macs(subnet, tokens=tokens) + heads * head

    def attention_macs(self, subnet: SubnetConfig, *, tokens: int) -> int:
        """Those of the products of one activation with another: queries with keys, weights with values."""
        return sum(2 * tokens * tokens * la.heads * self.head_size for la in subnet.layers)


@dataclass(frozen=True, slots=True)
class LayerShape:
    """One kept layer: which of the supernet's it is (from 0), and its first heads and FFN neurons."""

    index: int
    heads: int
    ffn: int


@dataclass(frozen=True, slots=True)
class SubnetConfig:
    """A slice of the supernet: the kept layers, each with its widths, and the hidden width of all."""

    layers: tuple[LayerShape, ...]
    hidden: int

    @classmethod
    def uniform(cls, kept: Sequence[int], *, hidden: int, heads: int, ffn: int) -> SubnetConfig:
        """The same widths in every kept layer."""
        return cls(tuple(LayerShape(index, heads, ffn) for index in kept), hidden)

    @property
    def kept(self) -> tuple[int, ...]:
        """Indices of the kept layers."""
        return tuple(layer.index for layer in self.layers)

    @property
    def name(self) -> str:
        """Short and stable: depth and widths, or depth, hidden and a digest where layers differ."""
        depth, first = len(self.layers), self.layers[0]
        if all((la.heads, la.ffn) == (first.heads, first.ffn) for la in self.layers):
            return f"l{depth}-d{self.hidden}-h{first.heads}-f{first.ffn}"
        digest = hashlib.sha256(repr(self.layers).encode()).hexdigest()[:8]
        return f"l{depth}-d{self.hidden}-x{digest}"


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """Which subnets exist: every combination of the choices below, each tuple from large to small.

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
    def maxnet(self) -> SubnetConfig:
        """The largest subnet."""
        return SubnetConfig.uniform(self.layers[0], hidden=self.hidden[0], heads=self.heads[0], ffn=self.ffn[0])

    @property
    def minnet(self) -> SubnetConfig:
        """The smallest subnet."""
        return SubnetConfig.uniform(self.layers[-1], hidden=self.hidden[-1], heads=self.heads[-1], ffn=self.ffn[-1])

    def middle(self, arch: AnyArchitecture) -> SubnetConfig:
        """The subnet whose layer parameters are nearest to half of the model's."""
        half = arch.layer_parameters(arch.full) / 2
        return min(self, key=lambda subnet: abs(arch.layer_parameters(subnet) - half))

    def at_full_depth(self) -> SearchSpace:
        """The subspace of stage 1: widths vary, depth does not."""
        return replace(self, layers=self.layers[:1])

    def sample(self, rng: random.Random) -> SubnetConfig:
        """A subnet drawn uniformly over each choice."""
        return SubnetConfig.uniform(
            rng.choice(self.layers),
            hidden=rng.choice(self.hidden),
            heads=rng.choice(self.heads),
            ffn=rng.choice(self.ffn),
        )

    def __iter__(self) -> Iterator[SubnetConfig]:
        for kept, hidden, heads, ffn in product(self.layers, self.hidden, self.heads, self.ffn):
            yield SubnetConfig.uniform(kept, hidden=hidden, heads=heads, ffn=ffn)

    def __len__(self) -> int:
        return len(self.layers) * len(self.hidden) * len(self.heads) * len(self.ffn)
