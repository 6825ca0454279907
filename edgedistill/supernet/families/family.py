"""What a model family says of itself: how its checkpoints call what the elastic encoder has, and what they need.

The tables go both ways: `Family.read` takes a checkpoint's tensors by them, `Family.write` gives them back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from torch import Tensor

from edgedistill.architecture import Architecture
from edgedistill.errors import ModelError
from edgedistill.supernet.slicing import extents

__all__ = ["Family", "Head"]

Head = Literal["SequenceClassification", "TokenClassification"]  # as transformers' class names end
_FIXED_EPS = 1e-12


class Family:
    """One family of encoders, as a subclass in a file of its own describes it.

    Attributes:
        model_types: what the ``model_type`` of its configs may be.
        prefix: under which name transformers' models with a head hold the encoder.
        encoder: module of the elastic encoder → its name behind the prefix; {} is a layer's index.
        heads: for each head the whole names of its modules.
        dense: the activation behind the dense layer of the head for sequences.
        ffn, activation: what its config calls the FFN width and activation.
        bare_model: what its class without a head is called with, so that it has no layer behind the states.
    """

    model_types: ClassVar[tuple[str, ...]]
    prefix: ClassVar[str]
    encoder: ClassVar[Mapping[str, str]]
    heads: ClassVar[Mapping[Head, Mapping[str, str]]]
    dense: ClassVar[Literal["tanh", "relu"]] = "tanh"
    ffn: ClassVar[str] = "intermediate_size"
    activation: ClassVar[str] = "hidden_act"
    bare_model: ClassVar[Mapping[str, Any]] = MappingProxyType({"add_pooling_layer": False})

    def positions(self, config: Any) -> int:
        """How many tokens a text may have."""
        return int(config.max_position_embeddings)

    def token_types(self, config: Any) -> int:
        """Rows of the token-type table that the elastic encoder keeps."""
        return int(config.type_vocab_size) if "embeddings.token_type" in self.encoder else 0

    def eps(self, config: Any) -> float:
        """What its norms add to the variance."""
        return float(getattr(config, "layer_norm_eps", _FIXED_EPS))

    def check(self, config: Any) -> None:
        """Refuse what the elastic encoder does not compute.

        Raises:
            ModelError: another activation than exact GELU, relative positions, a decoder.
        """
        supported: dict[str, tuple[object, ...]] = {
            self.activation: ("gelu", "gelu_python"),  # both are the exact one
            "position_embedding_type": ("absolute",),
            "is_decoder": (False,),
        }
        for key, values in supported.items():
            actual = getattr(config, key, values[0])
            if actual not in values:
                raise ModelError(f"the model's config.json has {key} = {actual!r}; only {values[0]!r} is supported")
        if "embeddings.token_type" in self.encoder and config.type_vocab_size < 1:
            raise ModelError(
                f"the model's config.json has type_vocab_size = {config.type_vocab_size}; expected 1 or more"
            )

    def names(self, arch: Architecture, head: Head | None) -> dict[str, str]:
        """The elastic encoder's tensors at full size → the checkpoint's; without a head's, none of the head."""
        modules = {ours: f"{self.prefix}.{theirs}" for ours, theirs in self.encoder.items()}
        modules |= self.heads[head] if head else {}
        found = {}
        for name in extents(arch, arch.full):
            module, kind = name.rsplit(".", 1)
            index = re.search(r"\d+", module)
            theirs = modules.get(re.sub(r"\d+", "{}", module))
            if theirs is not None:
                found[name] = f"{theirs.format(index.group() if index else '')}.{kind}"
        return found

    def read(self, tensors: Mapping[str, Tensor], arch: Architecture, head: Head | None) -> dict[str, Tensor]:
        """The elastic encoder's tensors from those of transformers' model."""
        return {ours: tensors[theirs] for ours, theirs in self.names(arch, head).items()}

    def write(
        self,
        tensors: Mapping[str, Tensor],
        arch: Architecture,
        head: Head | None,
        pad_token_id: int,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """The tensors of transformers' model from the elastic encoder's: what ``read`` reads back."""
        return {theirs: tensors[ours] for ours, theirs in self.names(arch, head).items()}

    def settings(self, arch: Architecture, pad_token_id: int, eps: float) -> dict[str, Any]:  # noqa: ARG002
        """What its config calls the rest of the dimensions, and the norms' epsilon."""
        types = {"type_vocab_size": arch.token_types} if arch.token_types else {}
        return {"max_position_embeddings": arch.positions, "layer_norm_eps": eps} | types
