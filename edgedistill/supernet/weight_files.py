"""Check the weights file of a checkpoint: it is one safetensors file, and all its numbers are finite."""

from __future__ import annotations

import hashlib
import mmap
import re
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from edgedistill.errors import ModelError
from edgedistill.supernet.model_config import CONFIG, read_json_object

__all__ = ["WEIGHTS", "check_weights"]

WEIGHTS = "model.safetensors"
_ADAPTER = "adapter_config.json"
_SHARDS = ("model.safetensors.index.json", "model-*-of-*.safetensors")
_PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt")
_OTHERS = ("*.safetensors", "*.gguf", "tf_model*.h5", "flax_model*.msgpack", "*.onnx", "onnx/*.onnx")
_MASKS = ("masked_bias", "attn.bias")  # constants of old checkpoints, which nothing reads


def check_weights(folder: Path) -> str:
    """Return the SHA-256 of the folder's weights after a look at every number.

    Raises:
        ModelError: model.safetensors is missing or damaged, or a tensor of it is not finite or not of floats.
    """
    if (folder / _ADAPTER).is_file():
        raise ModelError(
            f"{folder / _ADAPTER}: adapters are not supported; merge them into the weights "
            "(PEFT's merge_and_unload()) and save the model"
        )
    path = folder / WEIGHTS
    if not path.is_file():
        raise ModelError(_missing(folder))
    try:
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 (not a mapping)
                _check_tensor(path, name, file.get_tensor(name))
        with path.open("rb") as stored, mmap.mmap(stored.fileno(), 0, access=mmap.ACCESS_READ) as weights:
            return hashlib.sha256(weights).hexdigest()
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"{path} cannot be read: {str(error).splitlines()[0]}; download it again") from error


def _check_tensor(path: Path, name: str, tensor: Tensor) -> None:
    if name.endswith((*_MASKS, "position_ids")):
        return
    if not tensor.is_floating_point():
        raise ModelError(f"{path}: the tensor {name!r} is of type {tensor.dtype}; expected floating-point numbers")
    numbers = tensor.float()  # in which it is used: a number of float64 may not fit
    if not bool(torch.isfinite(numbers).all()):
        place = torch.nonzero(~torch.isfinite(numbers.reshape(-1)))[0].item()
        value = tensor.reshape(-1)[int(place)].item()
        raise ModelError(
            f"{path}: the tensor {name!r} is not finite: number {place} of it is {value}; download the checkpoint again"
        )


def _missing(folder: Path) -> str:
    """Return what is there instead of model.safetensors, and the line that converts it."""
    kinds = (
        (_SHARDS, "is in several files"),
        (_PICKLES, "is a pickle, which is never loaded"),
        (_OTHERS, "is of another format or name"),
    )
    for patterns, what in kinds:
        files = sorted(path.relative_to(folder).as_posix() for pattern in patterns for path in folder.glob(pattern))
        if files:
            names = ", ".join(files[:3]) + (", …" if len(files) > 3 else "")
            return f"the model folder {folder} has no {WEIGHTS} but {names}, which {what}; {_conversion(folder)}"
    return f"the model folder {folder} has no {WEIGHTS}; expected {CONFIG} and {WEIGHTS}"


def _conversion(folder: Path) -> str:
    named = read_json_object(folder / CONFIG).get("architectures") if (folder / CONFIG).is_file() else None
    first = named[0] if isinstance(named, list) and named else None
    kind = first if isinstance(first, str) and re.fullmatch(r"[A-Za-z]\w*", first) else "AutoModel"
    place = repr(str(folder))
    code = f"import transformers as t; t.{kind}.from_pretrained({place}).save_pretrained({place}, max_shard_size='1TB')"
    hint = "" if kind != "AutoModel" else " (with the model's own class in place of AutoModel, so that its head stays)"
    return f'convert it{hint}: python -c "{code}"'
