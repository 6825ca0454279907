"""The families of decoders by the ``model_type`` of a checkpoint's config."""

from __future__ import annotations

from edgedistill.errors import ModelError
from edgedistill.supernet.families.decoder_family import DecoderFamily
from edgedistill.supernet.families.gpt2 import Gpt2
from edgedistill.supernet.families.gpt_bigcode import GptBigCode
from edgedistill.supernet.families.llama import Llama
from edgedistill.supernet.families.mistral import Mistral
from edgedistill.supernet.families.qwen2 import Qwen2
from edgedistill.supernet.families.qwen3 import Qwen3

__all__ = ["DECODER_TYPES", "DecoderFamily", "decoder_family_of"]

_FAMILIES: dict[str, DecoderFamily] = {
    model_type: family
    for family in (Llama(), Mistral(), Qwen2(), Qwen3(), Gpt2(), GptBigCode())
    for model_type in family.model_types
}
DECODER_TYPES = frozenset(_FAMILIES)


def decoder_family_of(model_type: str) -> DecoderFamily:
    """The family that supports this type.

    Raises:
        ModelError: none does.
    """
    if model_type not in _FAMILIES:
        supported = ", ".join(sorted(_FAMILIES))
        raise ModelError(f"model type {model_type!r} is no supported decoder; use a checkpoint of type {supported}")
    return _FAMILIES[model_type]
