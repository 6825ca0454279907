"""Support GPT-2 and what is built like it: DistilGPT-2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from edgedistill.architecture import Architecture
from edgedistill.errors import ExportError
from edgedistill.supernet.families.family import Family, Head, activation_of, expect

__all__ = ["Gpt2"]

_BLOCK = "transformer.h.{}"
_FUSED = f"{_BLOCK}.attn.c_attn"
_PARTS = ("query", "key", "value")


class Gpt2(Family):
    """Read GPT-2: learned positions, LayerNorm, a plain FFN, biases everywhere.

    Its checkpoints hold queries, keys and values as one matrix, and matrices as [in, out].
    """

    model_types = ("gpt2",)
    causal = True
    transposed = True
    modules = {  # noqa: RUF012 (ClassVar in the base)
        "word": "transformer.wte",
        "position": "transformer.wpe",
        "layers.{}.attention_norm": f"{_BLOCK}.ln_1",
        **{f"layers.{{}}.{part}": f"{_FUSED}.{part}" for part in _PARTS},
        "layers.{}.attention_output": f"{_BLOCK}.attn.c_proj",
        "layers.{}.ffn_norm": f"{_BLOCK}.ln_2",
        "layers.{}.ffn_up": f"{_BLOCK}.mlp.c_fc",
        "layers.{}.ffn_down": f"{_BLOCK}.mlp.c_proj",
        "norm": "transformer.ln_f",
        "head": "lm_head",
    }

    def architecture(self, config: Any) -> Architecture:
        """Return the dimensions that a transformers config states."""
        expect(
            config, scale_attn_weights=(True,), scale_attn_by_inverse_layer_idx=(False,), add_cross_attention=(False,)
        )
        return Architecture(
            model_type=config.model_type,
            layers=config.n_layer,
            hidden=config.n_embd,
            heads=config.n_head,
            kv_heads=self.kv_heads(config),
            head_size=config.n_embd // config.n_head,
            ffn=config.n_inner or 4 * config.n_embd,
            vocabulary=config.vocab_size,
            positions=config.n_positions,
            causal=True,
            norm_place="before",
            activation=activation_of(config.activation_function),
            tied=config.tie_word_embeddings,
        )

    def kv_heads(self, config: Any) -> int:
        """Return how many heads of keys and values there are."""
        return int(config.n_head)

    def eps(self, config: Any) -> float:
        """Return what its norms add to the variance."""
        return float(config.layer_norm_epsilon)

    def settings(self, arch: Architecture, eps: float, pad_token_id: int = 0) -> dict[str, Any]:  # noqa: ARG002
        """Return the keys of its config."""
        if arch.heads * arch.head_size != arch.hidden:
            raise ExportError(
                f"{arch.heads} heads of size {arch.head_size} at a hidden width of {arch.hidden}: in transformers' "
                f"{arch.model_type} heads times size is the hidden width"
            )
        return {
            "n_layer": arch.layers,
            "n_embd": arch.hidden,
            "n_head": arch.heads,
            "n_inner": arch.ffn,
            "vocab_size": arch.vocabulary,
            "n_positions": arch.positions,
            "activation_function": "gelu_pytorch_tanh" if arch.activation == "gelu_tanh" else arch.activation,
            "layer_norm_epsilon": eps,
            "tie_word_embeddings": arch.tied,
        }

    def read(self, tensors: Mapping[str, Tensor], arch: Architecture, head: Head | None = None) -> dict[str, Tensor]:
        """Return the elastic transformer's tensors from those of transformers' model."""
        upright = dict(self._turned(tensors))
        for name in _fused_names(arch):
            module, kind = name.rsplit(".", 1)
            parts = self.split(upright.pop(name), arch)
            upright |= {f"{module}.{part}.{kind}": tensor for part, tensor in zip(_PARTS, parts, strict=True)}
        return super().read(upright, arch, head)

    def write(
        self, tensors: Mapping[str, Tensor], arch: Architecture, head: Head | None = None, pad_token_id: int = 0
    ) -> dict[str, Tensor]:
        """Return the tensors of transformers' model: what `read` reads back."""
        upright = super().write(tensors, arch, head, pad_token_id)
        for name in _fused_names(arch):
            module, kind = name.rsplit(".", 1)
            q, k, v = (upright.pop(f"{module}.{part}.{kind}") for part in _PARTS)
            upright[name] = self.join(q, k, v, arch)
        return self._turned(upright)

    def split(self, fused: Tensor, arch: Architecture) -> tuple[Tensor, Tensor, Tensor]:
        """Split the one matrix, or its bias, [(h + 2k)·s, ...] into queries [h·s, ...], keys and values [k·s, ...]."""
        shared = arch.kv_heads * arch.head_size
        q, k, v = torch.split(fused, [arch.heads * arch.head_size, shared, shared])
        return q, k, v

    def join(self, q: Tensor, k: Tensor, v: Tensor, arch: Architecture) -> Tensor:  # noqa: ARG002
        """Join what ``split`` takes apart."""
        return torch.cat((q, k, v))

    def _turned(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Turn the matrices of the layers from [in, out] to [out, in] or back, if they are stored so."""
        return {
            name: tensor.T.contiguous() if self.transposed and ".h." in name and tensor.ndim == 2 else tensor
            for name, tensor in tensors.items()
        }


def _fused_names(arch: Architecture) -> list[str]:
    return [f"{_FUSED.format(layer)}.{kind}" for layer in range(arch.layers) for kind in ("weight", "bias")]
