"""What a pretrained decoder (a causal language model) is, and what its subnets cost. No torch.

Shapes: d = hidden width, h = query heads, k = KV heads, s = head size (never cut), f = FFN width, V = vocabulary.
A layer's weight matrices are query [h·s, d], key and value [k·s, d], output [d, h·s], FFN up and, where it is
gated, gate [f, d], and down [d, f]. A subnet is a `SubnetConfig`, its heads being query heads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from edgedistill.errors import RecipeError
from edgedistill.subnet import Architecture, LayerShape, SubnetConfig, check_depth

__all__ = ["AnyArchitecture", "DecoderArchitecture"]


@dataclass(frozen=True, slots=True)
class DecoderArchitecture:
    """The dimensions of a pretrained decoder at full size: pre-norm layers, a last norm, a head over the vocabulary.

    Attributes:
        kv_heads: as many as heads (multi-head attention), fewer (grouped queries) or 1 (multi-query).
        positions: how many tokens it was trained for; rows of the position table where it is learned.
        rope_theta: the base of rotary positions; None where positions are learned.
        gated: whether the FFN is down(activation(gate(x))·up(x)) instead of down(activation(up(x))).
        qkv_bias, output_bias, ffn_bias: which matrices have a bias: queries, keys and values; the attention's
            output; those of the FFN.
        qk_norm: whether queries and keys are normed, head by head.
        tied: whether the head is the embedding table.
    """

    model_type: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    ffn: int
    vocabulary: int
    positions: int
    rope_theta: float | None = None
    norm: Literal["rms", "layer"] = "rms"
    gated: bool = True
    activation: Literal["silu", "gelu", "gelu_tanh"] = "silu"
    qkv_bias: bool = False
    output_bias: bool = False
    ffn_bias: bool = False
    qk_norm: bool = False
    tied: bool = False

    def __post_init__(self) -> None:
        check_depth(self.layers)

    @property
    def full(self) -> SubnetConfig:
        """The configuration that keeps everything."""
        return SubnetConfig.uniform(range(self.layers), hidden=self.hidden, heads=self.heads, ffn=self.ffn)

    @property
    def group(self) -> int:
        """How many query heads are kept or cut together: those of one KV head, or 1 where all share the only one."""
        return 1 if self.kv_heads == 1 else self.heads // self.kv_heads

    def kv_heads_of(self, heads: int) -> int:
        """The KV heads that so many query heads read.

        Raises:
            RecipeError: the query heads are no whole groups.
        """
        if heads % self.group or not 0 < heads <= self.heads:
            raise RecipeError(
                f"{heads} query heads are no whole groups of this model's {self.heads}; "
                f"take a multiple of {self.group}, up to {self.heads}"
            )
        return 1 if self.kv_heads == 1 else heads // self.group

    def alone(self, subnet: SubnetConfig) -> DecoderArchitecture:
        """The architecture of a model that is this subnet, of equal layers, and no more."""
        first = subnet.layers[0]
        return replace(
            self,
            layers=len(subnet.layers),
            hidden=subnet.hidden,
            heads=first.heads,
            kv_heads=self.kv_heads_of(first.heads),
            ffn=first.ffn,
        )

    def layer_parameters(self, subnet: SubnetConfig) -> int:
        """Entries of the layers' weight matrices that are kept: no biases, norms, embeddings or head."""
        return sum(self._matrices(layer, subnet.hidden) for layer in subnet.layers)

    def total_parameters(self, subnet: SubnetConfig) -> int:
        """Everything the subnet keeps, the tables and the head included; a tied head is counted once."""
        d = subnet.hidden
        tables = (self.vocabulary * (1 if self.tied else 2) + (0 if self.rope_theta else self.positions)) * d
        vectors = sum(self._vectors(layer, d) for layer in subnet.layers)
        return tables + self.layer_parameters(subnet) + vectors + self._norm(d)

    def macs(self, subnet: SubnetConfig, *, tokens: int) -> int:
        """Multiply-accumulates of one forward pass over one sequence of ``tokens`` tokens, each with its logits."""
        head = self.vocabulary * subnet.hidden
        return tokens * (self.layer_parameters(subnet) + head) + self.attention_macs(subnet, tokens=tokens)

    def attention_macs(self, subnet: SubnetConfig, *, tokens: int) -> int:
        """Those of the products of one activation with another, what the causal mask hides included."""
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


AnyArchitecture = Architecture | DecoderArchitecture
