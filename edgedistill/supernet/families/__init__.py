"""Hold one file a model family: how its checkpoints become an elastic transformer.

`family_of` finds the family by the ``model_type`` of the checkpoint's config; any other type is refused
with the list of those that are supported.
"""

from __future__ import annotations

from edgedistill.errors import ModelError
from edgedistill.supernet.families.bert import Bert
from edgedistill.supernet.families.distilbert import DistilBert
from edgedistill.supernet.families.electra import Electra
from edgedistill.supernet.families.family import Family, Head
from edgedistill.supernet.families.gpt2 import Gpt2
from edgedistill.supernet.families.gpt_bigcode import GptBigCode
from edgedistill.supernet.families.llama import Llama
from edgedistill.supernet.families.mistral import Mistral
from edgedistill.supernet.families.qwen2 import Qwen2
from edgedistill.supernet.families.qwen3 import Qwen3
from edgedistill.supernet.families.roberta import Roberta

__all__ = ["Family", "Head", "causal_family_of", "encoder_family_of", "family_of"]

_FAMILIES: dict[str, Family] = {
    model_type: family
    for family in (
        Bert(),
        Roberta(),
        DistilBert(),
        Electra(),
        Llama(),
        Mistral(),
        Qwen2(),
        Qwen3(),
        Gpt2(),
        GptBigCode(),
    )
    for model_type in family.model_types
}


def family_of(model_type: str) -> Family:
    """Return the family that supports this type.

    Raises:
        ModelError: the type belongs to no family; the message lists the supported types.
    """
    if model_type not in _FAMILIES:
        raise ModelError(
            f"model type {model_type!r} is not supported; use an encoder of type {_types(causal=False)}, "
            f"or for text-generation a decoder of type {_types(causal=True)}"
        )
    return _FAMILIES[model_type]


def encoder_family_of(model_type: str) -> Family:
    """Return the family of encoders that supports this type.

    Raises:
        ModelError: no family does.
    """
    if model_type not in _FAMILIES or _FAMILIES[model_type].causal:
        raise ModelError(f"model type {model_type!r} is not supported; use a checkpoint of type {_types(causal=False)}")
    return _FAMILIES[model_type]


def causal_family_of(model_type: str) -> Family:
    """Return the family of language models that supports this type.

    Raises:
        ModelError: no family does.
    """
    if model_type not in _FAMILIES or not _FAMILIES[model_type].causal:
        raise ModelError(
            f"model type {model_type!r} is not a supported decoder; use a checkpoint of type {_types(causal=True)}"
        )
    return _FAMILIES[model_type]


def _types(*, causal: bool) -> str:
    return ", ".join(sorted(name for name, family in _FAMILIES.items() if family.causal == causal))
