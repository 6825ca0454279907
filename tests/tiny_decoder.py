"""Small random decoders for tests: real code, small weights."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from edgedistill.architecture import Architecture, LayerShape, SearchSpace, Subnet
from edgedistill.supernet.families.llama import LLAMA_BLOCK
from edgedistill.supernet.lowrank import LowRankPair
from edgedistill.supernet.model import ElasticTransformer

VOCABULARY, POSITIONS = 50, 40
SIZES = {"layers": 3, "hidden": 32, "ffn": 40, "vocabulary": VOCABULARY, "positions": POSITIONS}
ARCHITECTURES = {
    "grouped": Architecture(
        model_type="llama", heads=4, kv_heads=2, head_size=8, rope_theta=100.0, **LLAMA_BLOCK, **SIZES
    ),
    "normed": Architecture(
        model_type="qwen3",
        heads=4,
        kv_heads=2,
        head_size=6,
        rope_theta=1e4,
        qk_norm=True,
        tied=True,
        **(LLAMA_BLOCK | {"qkv_bias": True}),
        **SIZES,
    ),
    "multi-query": Architecture(
        model_type="gpt_bigcode",
        heads=4,
        kv_heads=1,
        head_size=8,
        causal=True,
        norm_place="before",
        activation="gelu_tanh",
        tied=True,
        **SIZES,
    ),
    "multi-head": Architecture(
        model_type="gpt2",
        heads=4,
        kv_heads=4,
        head_size=8,
        causal=True,
        norm_place="before",
        **SIZES,
    ),
    "gated-bias": Architecture(
        model_type="llama",
        heads=4,
        kv_heads=4,
        head_size=8,
        rope_theta=1e4,
        **(LLAMA_BLOCK | {"output_bias": True, "ffn_bias": True}),
        **SIZES,
    ),
}
SPACE = SearchSpace(layers=((0, 1, 2), (0, 2), (1,)), hidden=(32, 16), heads=(4, 2), ffn=(40, 11))

_LLAMA = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": POSITIONS,
}
_GPT = {"vocab_size": VOCABULARY, "n_embd": 32, "n_inner": 40, "n_layer": 3, "n_head": 4, "n_positions": POSITIONS}
# Checkpoints: a model type, and what its config says beside the dimensions.
CHECKPOINTS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama-biases-tied": ("llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    "llama-heads-wide": ("llama", {"head_dim": 10, "num_key_value_heads": 4, "rms_norm_eps": 1e-3}),
    "llama-multi-query": ("llama", {"num_key_value_heads": 1, "hidden_act": "gelu"}),
    "mistral": ("mistral", {"sliding_window": None}),
    "qwen2": ("qwen2", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}),
    "qwen2-tied": ("qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("qwen3", {"head_dim": 6, "tie_word_embeddings": True}),
    "qwen3-biases": ("qwen3", {"head_dim": 16, "attention_bias": True}),
    "gpt2": ("gpt2", {}),
    "gpt2-untied": ("gpt2", {"tie_word_embeddings": False, "activation_function": "gelu", "n_inner": None}),
    "gpt_bigcode": ("gpt_bigcode", {}),
    "gpt_bigcode-multi-head": ("gpt_bigcode", {"multi_query": False}),
}


def checkpoint(folder: Path, name: str, **changes: Any) -> Path:
    """A tiny checkpoint with random weights of every kind, as transformers writes it."""
    torch.manual_seed(0)
    model_type, settings = CHECKPOINTS[name]
    sizes = _GPT if model_type.startswith("gpt") else _LLAMA
    ids = {"bos_token_id": 1, "eos_token_id": 2}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **(sizes | ids | settings | changes)))
    for parameter in model.parameters():
        is_scale = parameter.ndim == 1 and float(parameter.detach().mean()) == 1.0
        parameter.data = torch.randn_like(parameter) * 0.2 + is_scale
    model.save_pretrained(folder)
    return folder


def decoder(arch: Architecture, *, pairs: int = 2, rank: int = 2, seed: int = 0) -> ElasticTransformer:
    """A decoder with random weights and ``pairs`` random low-rank pairs a matrix, in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    model = ElasticTransformer(arch, scale=0.5, eps=1e-6)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    for _ in range(pairs):
        model.begin_stage(rank, generator)
        for linear in model.elastic_linears().values():
            pair = linear.pairs[-1]
            assert isinstance(pair, LowRankPair)
            pair.B.data = torch.randn(pair.B.shape, generator=generator) * 0.3
    return model.eval()


def random_subnet(arch: Architecture, rng: random.Random) -> Subnet:
    """Any subnet, its layers of unequal widths."""
    kept = sorted(rng.sample(range(arch.layers), rng.randint(1, arch.layers)))
    groups = arch.heads // arch.group
    shapes = tuple(LayerShape(i, arch.group * rng.randint(1, groups), rng.randint(1, arch.ffn)) for i in kept)
    return Subnet(shapes, rng.randint(1, arch.hidden))


def inputs(batch: int, length: int, *, side: str = "right", seed: int = 0) -> tuple[Tensor, Tensor]:
    """Ids and a mask with padding on that side; each [batch, length]."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, VOCABULARY, (batch, length), generator=generator)
    lengths = torch.randint(1, length + 1, (batch, 1), generator=generator)
    mask = (torch.arange(length) < lengths).long()
    return ids, mask if side == "right" else mask.flip(1)
