"""Support Qwen2 and Qwen2.5."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edgedistill.architecture import Architecture
from edgedistill.errors import ModelError
from edgedistill.supernet.families.llama import Llama

__all__ = ["Qwen2", "refuse_windows"]


class Qwen2(Llama):
    """Read Qwen2, a Llama with biases on queries, keys and values alone."""

    model_types = ("qwen2",)

    def variant(self, config: Any, bare: Architecture) -> Architecture:
        """Return the architecture with biases that its config does not mention."""
        refuse_windows(config)
        return replace(bare, qkv_bias=True)

    def variant_settings(self, arch: Architecture) -> dict[str, Any]:  # noqa: ARG002
        """Return no further keys."""
        return {}


def refuse_windows(config: Any) -> None:
    """Refuse layers that see only a window of tokens.

    Raises:
        ModelError: there are such layers.
    """
    if set(config.layer_types) != {"full_attention"}:
        raise ModelError("the model's config.json has layers with a sliding window; only full attention is supported")
