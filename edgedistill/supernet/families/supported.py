"""Check a model type against all families, before anything else is read."""

from __future__ import annotations

from edgedistill.errors import ModelError
from edgedistill.supernet.families import ENCODER_TYPES
from edgedistill.supernet.families.decoders import DECODER_TYPES

__all__ = ["check_supported"]


def check_supported(model_type: str) -> None:
    """Refuse a type that belongs to no family.

    Raises:
        ModelError: it does; the message lists the supported types.
    """
    if model_type not in ENCODER_TYPES | DECODER_TYPES:
        raise ModelError(
            f"model type {model_type!r} is not supported; use an encoder of type {', '.join(sorted(ENCODER_TYPES))}, "
            f"or for text-generation a decoder of type {', '.join(sorted(DECODER_TYPES))}"
        )
