"""Support the dense models of Qwen3."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edgedistill.architecture import Architecture
from edgedistill.supernet.families.llama import Llama
from edgedistill.supernet.families.qwen2 import refuse_windows

__all__ = ["Qwen3"]


class Qwen3(Llama):
    """Read Qwen3, a Llama with an RMSNorm on each head's queries and keys."""

    model_types = ("qwen3",)

    def variant(self, config: Any, bare: Architecture) -> Architecture:
        """Return the architecture with its biases and norms."""
        refuse_windows(config)
        return replace(bare, qk_norm=True, qkv_bias=config.attention_bias, output_bias=config.attention_bias)

    def variant_settings(self, arch: Architecture) -> dict[str, Any]:
        """Return the key of its config for biases."""
        return {"attention_bias": arch.qkv_bias}
