"""Write what sentence-transformers needs next to an encoder to give a subnet's vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from edgedistill.architecture import Architecture

__all__ = ["write_sentence_modules"]

_MODULE = "sentence_transformers.models."
_MODES = {"first": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens"}
_OTHER_MODES = ("pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens")


def write_sentence_modules(arch: Architecture, weight: Tensor, bias: Tensor, folder: Path, most_tokens: int) -> None:
    """Write modules.json and its modules: pooling, the layer behind it where that changes anything, unit length.

    Args:
        arch: of the subnet alone.
        weight: of the layer behind the pooling [o, d].
        bias: of it [o].
        folder: holds the encoder.
        most_tokens: of a text.
    """
    same = weight.shape[0] == weight.shape[1] and torch.equal(weight, torch.eye(len(weight)))
    dense = not same or bool(bias.count_nonzero())
    kinds = ["Transformer", "Pooling", *(["Dense"] if dense else []), "Normalize"]
    places = ["" if kind == "Transformer" else f"{index}_{kind}" for index, kind in enumerate(kinds)]
    for place in places:
        (folder / place).mkdir(exist_ok=True)
    modes = {name: pooling == arch.pooling for pooling, name in _MODES.items()}
    pooling = {"word_embedding_dimension": arch.hidden, **modes, **dict.fromkeys(_OTHER_MODES, False)}
    _write(folder / places[1] / "config.json", pooling)
    if dense:
        _write_dense(weight, bias, folder / places[2])
    modules = [
        {"idx": index, "name": str(index), "path": place, "type": f"{_MODULE}{kind}"}
        for index, (kind, place) in enumerate(zip(kinds, places, strict=True))
    ]
    _write(folder / "modules.json", modules)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": most_tokens, "do_lower_case": False})
    settings: dict[str, Any] = {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"}
    _write(folder / "config_sentence_transformers.json", settings)


def _write_dense(weight: Tensor, bias: Tensor, folder: Path) -> None:
    outputs, inputs = weight.shape
    settings = {
        "in_features": inputs,
        "out_features": outputs,
        "bias": True,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    _write(folder / "config.json", settings)
    tensors = {"linear.weight": weight.contiguous(), "linear.bias": bias.contiguous()}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def _write(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=2), encoding="utf-8")
