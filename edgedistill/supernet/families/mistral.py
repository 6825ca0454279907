"""Support Mistral, where each token sees all tokens before it: later versions, and any for texts within the window."""

from __future__ import annotations

from typing import Any

from edgedistill.architecture import Architecture
from edgedistill.errors import ModelError
from edgedistill.supernet.families.llama import Llama

__all__ = ["Mistral"]


class Mistral(Llama):
    """Read Mistral, a Llama without biases."""

    model_types = ("mistral",)

    def variant(self, config: Any, bare: Architecture) -> Architecture:
        """Refuse a sliding window that is shorter than the texts."""
        if config.sliding_window is not None and config.sliding_window < config.max_position_embeddings:
            raise ModelError(
                f"the model's config.json has a sliding window of {config.sliding_window} tokens in texts of "
                f"{config.max_position_embeddings}; only full attention is supported"
            )
        return bare

    def variant_settings(self, arch: Architecture) -> dict[str, Any]:  # noqa: ARG002
        """Return the key of its config for full attention."""
        return {"sliding_window": None}
