"""One file a model family: how a checkpoint's tensor names map to the elastic encoder's.

`naming_of` finds the family by the ``model_type`` of the checkpoint's config; any other type is refused
with the list of those that are supported.
"""

from __future__ import annotations

from collections.abc import Callable

from edgedistill.errors import ModelError
from edgedistill.supernet.families import bert

__all__ = ["naming_of"]

_FAMILIES = {"bert": bert.hugging_face_name}


def naming_of(model_type: str) -> Callable[[str], str]:
    """The function from our tensor names to the family's.

    Raises:
        ModelError: no family supports this type.
    """
    if model_type not in _FAMILIES:
        supported = ", ".join(sorted(_FAMILIES))
        raise ModelError(f"model type {model_type!r} is not supported; use a checkpoint of type {supported}")
    return _FAMILIES[model_type]
