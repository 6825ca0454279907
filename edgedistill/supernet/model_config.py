"""Read the config.json of a checkpoint. Nothing that it says makes transformers load code.

docs/checkpoints.md lists every key and what happens to it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING

from edgedistill.architecture import MAX_LAYERS
from edgedistill.errors import ModelError
from edgedistill.utf8 import read_text_file

__all__ = ["CONFIG", "SAFE_LOADING", "load_config", "read_json_object"]

CONFIG = "config.json"
# How transformers loads a model: in fp32, from this machine's safetensors alone, and never code.
SAFE_LOADING: dict[str, Any] = {
    "dtype": torch.float32,
    "use_safetensors": True,
    "local_files_only": True,
    "trust_remote_code": False,
}
# Keys that name code: Python files of the checkpoint, kernels of the hub. All have built-in counterparts.
_CODE_KEYS = (
    "auto_map",
    "custom_pipelines",
    "use_kernels",
    "kernel_config",
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_internal",
    "experts_implementation",
    "_experts_implementation",
    "_experts_implementation_internal",
)
# What another version of the model would need, by key: a value that is set means so.
_REFUSED = {
    "quantization_config": "weights that are stored quantized are not supported; use the checkpoint in fp32 or fp16",
    "pruned_heads": "pruned heads are not supported; use a checkpoint with all heads",
    "adapters": "adapters are not supported; merge them into the weights",
    "is_encoder_decoder": "only encoders, and decoders for text-generation, are supported",
    "add_cross_attention": "cross-attention is not supported",
}
_LAYER_KEYS = ("num_hidden_layers", "n_layers", "n_layer")  # as BERT, DistilBERT and GPT-2 name the depth


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        ModelError: the file cannot be read, or holds something else.
    """
    try:
        document = json.loads(read_text_file(path))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read as JSON: {str(error).splitlines()[0]}; download it again") from error
    if not isinstance(document, dict):
        raise ModelError(f"{path} holds a JSON {type(document).__name__}; expected an object")
    return document


def load_config(folder: Path, check_type: Callable[[str], object], **changes: Any) -> Any:
    """Return the checkpoint's config as transformers' own class for its type.

    Args:
        folder: holds config.json.
        check_type: raises a ModelError for a ``model_type`` that is not supported; transformers sees no other.
        changes: replace keys of the file.

    Raises:
        ModelError: the file cannot be read, or asks for something that is not supported; the message names the key.
    """
    path = folder / CONFIG
    settings = read_json_object(path)
    model_type = settings.get("model_type")
    if not isinstance(model_type, str):
        raise ModelError(f"{path} has no model_type; expected a Hugging Face config")
    check_type(model_type)
    for key, reason in _REFUSED.items():
        if settings.get(key):
            raise ModelError(f"{path}: {key} is set, and {reason}")
    _check_numbers(path, settings)
    plain = {key: value for key, value in settings.items() if key not in _CODE_KEYS}
    try:
        return CONFIG_MAPPING[model_type].from_dict(plain, **changes)
    except Exception as error:  # transformers and huggingface_hub raise many kinds for a value of the wrong type
        first = " ".join(str(error).split())
        raise ModelError(f"{path} is not a config of type {model_type!r}: {first}") from error


def _check_numbers(path: Path, settings: dict[str, Any]) -> None:
    """Refuse NaN and infinity, which Python's JSON reads, and more layers than any model has."""
    for key, value in settings.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ModelError(f"{path}: {key} is {value}; expected a finite number")
        if key in _LAYER_KEYS and isinstance(value, int) and value > MAX_LAYERS:
            raise ModelError(f"{path}: {key} is {value}; expected at most {MAX_LAYERS:,}")
