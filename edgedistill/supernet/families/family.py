"""Describe a model family: what its configs state, and how its checkpoints name the tensors.

The tables go both ways: `Family.read` takes a checkpoint's tensors by them, `Family.write` gives them back, and so do
`Family.architecture` and `Family.settings` with a config. The defaults are those of encoders like BERT.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from torch import Tensor

from edgedistill.architecture import Activation, Architecture
from edgedistill.errors import ModelError
from edgedistill.supernet.slicing import extents

__all__ = ["Family", "Head", "activation_of", "expect"]

Head = Literal["SequenceClassification", "TokenClassification"]  # as transformers' class names end
_FIXED_EPS = 1e-12
_HEAD_MODULES = ("dense", "classifier")
_ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}


class Family:
    """Describe one family, by a subclass in a file of its own.

    Attributes:
        model_types: what the ``model_type`` of its configs may be.
        causal: whether its models are language models; else they are encoders.
        modules: module of the elastic transformer → its name in a checkpoint, behind the prefix; {} is a layer's index.
        prefix: under which name transformers' models with a head hold an encoder.
        heads: for each head of an encoder the whole names of its modules.
        dense: the activation behind the dense layer of the head for sequences.
        ffn, activation: what its config calls the FFN width and activation.
        bare_model: what its class without a head is called with, so that it has no layer behind the states.
    """

    model_types: ClassVar[tuple[str, ...]]
    causal: ClassVar[bool] = False
    modules: ClassVar[Mapping[str, str]]
    prefix: ClassVar[str] = ""
    heads: ClassVar[Mapping[Head, Mapping[str, str]]] = MappingProxyType({})
    dense: ClassVar[Literal["tanh", "relu", "gelu"]] = "tanh"
    ffn: ClassVar[str] = "intermediate_size"
    activation: ClassVar[str] = "hidden_act"
    bare_model: ClassVar[Mapping[str, Any]] = MappingProxyType({"add_pooling_layer": False})

    def architecture(self, config: Any) -> Architecture:
        """Return the dimensions that a transformers config states; an encoder's without its head.

        Raises:
            ModelError: the config states what the elastic transformer does not compute.
        """
        self.check(config)
        return Architecture(
            model_type=config.model_type,
            layers=config.num_hidden_layers,
            hidden=config.hidden_size,
            heads=config.num_attention_heads,
            head_size=config.hidden_size // config.num_attention_heads,
            ffn=getattr(config, self.ffn),
            vocabulary=config.vocab_size,
            positions=self.positions(config),
            token_types=self.token_types(config),
        )

    def check(self, config: Any) -> None:
        """Refuse what the elastic transformer does not compute.

        Raises:
            ModelError: another activation than exact GELU, relative positions, a decoder.
        """
        exact = ("gelu", "gelu_python")
        expect(config, **{self.activation: exact}, position_embedding_type=("absolute",), is_decoder=(False,))
        if "embeddings.token_type" in self.modules and config.type_vocab_size < 1:
            raise ModelError(
                f"the model's config.json has type_vocab_size = {config.type_vocab_size}; expected 1 or more"
            )

    def positions(self, config: Any) -> int:
        """Return how many tokens a text may have."""
        return int(config.max_position_embeddings)

    def token_types(self, config: Any) -> int:
        """Return the rows of the token-type table."""
        return int(config.type_vocab_size) if "embeddings.token_type" in self.modules else 0

    def eps(self, config: Any) -> float:
        """Return what its norms add to the variance."""
        return float(getattr(config, "layer_norm_eps", _FIXED_EPS))

    def settings(self, arch: Architecture, eps: float, pad_token_id: int = 0) -> dict[str, Any]:  # noqa: ARG002
        """Return the keys of its config: `architecture` and `eps` read them back.

        Raises:
            ExportError: its config cannot express them.
        """
        return {
            "vocab_size": arch.vocabulary,
            "hidden_size": arch.hidden,
            "num_hidden_layers": arch.layers,
            "num_attention_heads": arch.heads,
            self.ffn: arch.ffn,
            "max_position_embeddings": arch.positions,
            "layer_norm_eps": eps,
            **({"type_vocab_size": arch.token_types} if arch.token_types else {}),
        }

    def names(self, arch: Architecture, head: Head | None = None) -> dict[str, str]:
        """Return the elastic transformer's tensors at full size → the checkpoint's; of heads only this one's."""
        prefix = f"{self.prefix}." if self.prefix else ""
        modules = {ours: f"{prefix}{theirs}" for ours, theirs in self.modules.items()}
        modules |= self.heads[head] if head else {}
        tensors = {}
        for name in extents(arch, arch.full):
            module, kind = name.rsplit(".", 1)
            if module in _HEAD_MODULES and module not in modules:
                continue
            index = re.search(r"\d+", module)
            theirs = modules[re.sub(r"\d+", "{}", module)]
            tensors[name] = f"{theirs.format(index.group() if index else '')}.{kind}"
        return tensors

    def read(self, tensors: Mapping[str, Tensor], arch: Architecture, head: Head | None = None) -> dict[str, Tensor]:
        """Return the elastic transformer's tensors from those of transformers' model."""
        return {ours: tensors[theirs] for ours, theirs in self.names(arch, head).items()}

    def write(
        self,
        tensors: Mapping[str, Tensor],
        arch: Architecture,
        head: Head | None = None,
        pad_token_id: int = 0,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """Return the tensors of transformers' model from the elastic transformer's: what `read` reads back."""
        return {theirs: tensors[ours] for ours, theirs in self.names(arch, head).items()}


def activation_of(name: str) -> Activation:
    """Return the activation by transformers' name of it.

    Raises:
        ModelError: it is not supported.
    """
    if name not in _ACTIVATIONS:
        raise ModelError(
            f"the model's config.json has the activation {name!r}; supported are {', '.join(_ACTIVATIONS)}"
        )
    return _ACTIVATIONS[name]


def expect(config: Any, **supported: tuple[object, ...]) -> None:
    """Refuse a config that has another value than the supported ones; a key that it lacks has the first of them.

    Raises:
        ModelError: it has; the message names the key.
    """
    for key, values in supported.items():
        actual = getattr(config, key, values[0])
        if actual not in values:
            raise ModelError(f"the model's config.json has {key} = {actual!r}; only {values[0]!r} is supported")
