"""One file a model family: how its checkpoints become an elastic encoder.

`family_of` finds the family by the ``model_type`` of the checkpoint's config; any other type is refused
with the list of those that are supported.
"""

from __future__ import annotations

from edgedistill.errors import ModelError
from edgedistill.supernet.families.bert import Bert
from edgedistill.supernet.families.distilbert import DistilBert
from edgedistill.supernet.families.family import Family, Head
from edgedistill.supernet.families.roberta import Roberta

__all__ = ["ENCODER_TYPES", "Family", "Head", "family_of"]

_FAMILIES: dict[str, Family] = {
    model_type: family for family in (Bert(), Roberta(), DistilBert()) for model_type in family.model_types
}
ENCODER_TYPES = frozenset(_FAMILIES)


def family_of(model_type: str) -> Family:
    """The family that supports this type.

    Raises:
        ModelError: none does.
    """
    if model_type not in _FAMILIES:
        supported = ", ".join(sorted(_FAMILIES))
        raise ModelError(f"model type {model_type!r} is not supported; use a checkpoint of type {supported}")
    return _FAMILIES[model_type]
