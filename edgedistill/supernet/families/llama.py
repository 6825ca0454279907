"""Support Llama and what is built like it: SmolLM, TinyLlama."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from edgedistill.architecture import Architecture
from edgedistill.errors import ExportError, ModelError
from edgedistill.supernet.families.family import Family, activation_of

__all__ = ["LLAMA_BLOCK", "Llama"]

# What every Llama has in common, as an `Architecture` calls it.
LLAMA_BLOCK: Mapping[str, Any] = MappingProxyType(
    {
        "causal": True,
        "norm": "rms",
        "norm_place": "before",
        "gated": True,
        "activation": "silu",
        "qkv_bias": False,
        "output_bias": False,
        "ffn_bias": False,
    }
)


class Llama(Family):
    """Read Llama: rotary positions, RMSNorm, a gated FFN, grouped queries. Mistral, Qwen2 and Qwen3 differ little."""

    model_types = ("llama",)
    causal = True
    modules = {  # noqa: RUF012 (ClassVar in the base)
        "word": "model.embed_tokens",
        "layers.{}.attention_norm": "model.layers.{}.input_layernorm",
        "layers.{}.query": "model.layers.{}.self_attn.q_proj",
        "layers.{}.key": "model.layers.{}.self_attn.k_proj",
        "layers.{}.value": "model.layers.{}.self_attn.v_proj",
        "layers.{}.query_norm": "model.layers.{}.self_attn.q_norm",
        "layers.{}.key_norm": "model.layers.{}.self_attn.k_norm",
        "layers.{}.attention_output": "model.layers.{}.self_attn.o_proj",
        "layers.{}.ffn_norm": "model.layers.{}.post_attention_layernorm",
        "layers.{}.ffn_gate": "model.layers.{}.mlp.gate_proj",
        "layers.{}.ffn_up": "model.layers.{}.mlp.up_proj",
        "layers.{}.ffn_down": "model.layers.{}.mlp.down_proj",
        "norm": "model.norm",
        "head": "lm_head",
    }

    def architecture(self, config: Any) -> Architecture:
        """Return the dimensions that a transformers config states."""
        bare = Architecture(
            model_type=config.model_type,
            layers=config.num_hidden_layers,
            hidden=config.hidden_size,
            heads=config.num_attention_heads,
            kv_heads=config.num_key_value_heads,
            head_size=getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
            ffn=config.intermediate_size,
            vocabulary=config.vocab_size,
            positions=config.max_position_embeddings,
            rope_theta=_theta(config),
            tied=config.tie_word_embeddings,
            **{**LLAMA_BLOCK, "activation": activation_of(config.hidden_act)},
        )
        return self.variant(config, bare)

    def variant(self, config: Any, bare: Architecture) -> Architecture:
        """Return the architecture with its biases and norms."""
        attention = config.attention_bias
        return replace(bare, qkv_bias=attention, output_bias=attention, ffn_bias=config.mlp_bias)

    def eps(self, config: Any) -> float:
        """Return what its norms add to the variance."""
        return float(config.rms_norm_eps)

    def settings(self, arch: Architecture, eps: float, pad_token_id: int = 0) -> dict[str, Any]:  # noqa: ARG002
        """Return the keys of its config."""
        activation = "gelu_pytorch_tanh" if arch.activation == "gelu_tanh" else arch.activation
        return {
            "num_hidden_layers": arch.layers,
            "hidden_size": arch.hidden,
            "num_attention_heads": arch.heads,
            "num_key_value_heads": arch.kv_heads,
            "head_dim": arch.head_size,
            "intermediate_size": arch.ffn,
            "vocab_size": arch.vocabulary,
            "max_position_embeddings": arch.positions,
            "rope_parameters": {"rope_type": "default", "rope_theta": arch.rope_theta},
            "hidden_act": activation,
            "rms_norm_eps": eps,
            "tie_word_embeddings": arch.tied,
            **self.variant_settings(arch),
        }

    def variant_settings(self, arch: Architecture) -> dict[str, Any]:
        """Return the keys of its config for biases and norms."""
        if arch.hidden % arch.heads:
            raise ExportError(
                f"{arch.heads} heads at a hidden width of {arch.hidden}: transformers' llama takes only heads that "
                "divide the hidden width"
            )
        return {"attention_bias": arch.qkv_bias, "mlp_bias": arch.ffn_bias}


def _theta(config: Any) -> float:
    rope = config.rope_parameters
    kind, share = rope.get("rope_type"), rope.get("partial_rotary_factor", 1.0)
    if kind != "default":
        raise ModelError(f"the model's config.json has rotary positions of type {kind!r}; only 'default' is supported")
    if share != 1:
        raise ModelError(f"the model's config.json has partial_rotary_factor = {share!r}; only 1.0 is supported")
    return float(rope["rope_theta"])
