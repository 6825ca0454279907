"""What a family of decoders says of itself: what its configs state, and how its checkpoints call the tensors.

The table goes both ways: `DecoderFamily.read` takes a checkpoint's tensors by it, `DecoderFamily.write` gives
them back, and so do `DecoderFamily.architecture` and `DecoderFamily.settings` with a config.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor

from edgedistill.architecture import Architecture
from edgedistill.errors import ModelError
from edgedistill.supernet.slicing import extents

__all__ = ["DecoderFamily", "activation_of", "expect"]

_ACTIVATIONS: dict[str, Literal["silu", "gelu", "gelu_tanh"]] = {
    "silu": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}


class DecoderFamily(ABC):
    """One family of decoders, as a subclass in a file of its own describes it.

    Attributes:
        model_types: what the ``model_type`` of its configs may be.
        modules: module of the elastic decoder → the checkpoint's; {} is a layer's index.
    """

    model_types: ClassVar[tuple[str, ...]]
    modules: ClassVar[Mapping[str, str]]

    @abstractmethod
    def architecture(self, config: Any) -> Architecture:
        """The dimensions that a transformers config states.

        Raises:
            ModelError: the config asks for what the elastic decoder does not compute.
        """

    @abstractmethod
    def eps(self, config: Any) -> float:
        """What its norms add to the variance."""

    @abstractmethod
    def settings(self, arch: Architecture, eps: float) -> dict[str, Any]:
        """What its config calls the dimensions and the norms' epsilon: `architecture` and `eps` read them back.

        Raises:
            ExportError: its config cannot say them.
        """

    def read(self, tensors: Mapping[str, Tensor], arch: Architecture) -> dict[str, Tensor]:
        """The elastic decoder's tensors from those of transformers' model."""
        return {ours: tensors[theirs] for ours, theirs in self.names(arch).items()}

    def write(self, tensors: Mapping[str, Tensor], arch: Architecture) -> dict[str, Tensor]:
        """The tensors of transformers' model from the elastic decoder's: what ``read`` reads back."""
        return {theirs: tensors[ours] for ours, theirs in self.names(arch).items()}

    def names(self, arch: Architecture) -> dict[str, str]:
        """The elastic decoder's tensors at full size → the checkpoint's."""
        found = {}
        for name in extents(arch, arch.full):
            module, kind = name.rsplit(".", 1)
            index = re.search(r"\d+", module)
            theirs = self.modules[re.sub(r"\d+", "{}", module)]
            found[name] = f"{theirs.format(index.group() if index else '')}.{kind}"
        return found


def activation_of(name: str) -> Literal["silu", "gelu", "gelu_tanh"]:
    """The activation by transformers' name of it.

    Raises:
        ModelError: it is none of those that are computed.
    """
    if name not in _ACTIVATIONS:
        raise ModelError(
            f"the model's config.json has the activation {name!r}; supported are {', '.join(_ACTIVATIONS)}"
        )
    return _ACTIVATIONS[name]


def expect(config: Any, **wanted: object) -> None:
    """Refuse a config that has another value than the wanted one; a key that it lacks is right.

    Raises:
        ModelError: it has; the message names the key.
    """
    for key, value in wanted.items():
        actual = getattr(config, key, value)
        if actual != value:
            raise ModelError(f"the model's config.json has {key} = {actual!r}; only {value!r} is supported")
