"""Read what sentence-transformers writes next to a model: its modules, pooling, projections, prompts and limits.

docs/checkpoints.md lists every key and what happens to it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from edgedistill.errors import ModelError
from edgedistill.printable import get_logger
from edgedistill.supernet.model_config import read_json_object
from edgedistill.utf8 import read_text_file

__all__ = ["Projection", "SentenceSettings", "pooling_of", "read_sentence_settings"]

_MODULES = "modules.json"
_POOLING_FOLDER = "1_Pooling"
_SETTINGS = "config_sentence_transformers.json"
_PACKAGE = "sentence_transformers."
_POOLING: dict[str, Literal["first", "mean"]] = {"mean": "mean", "cls": "first"}
_OLDER_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_IDENTITY = "torch.nn.modules.linear.Identity"
_TANH = "torch.nn.modules.activation.Tanh"  # what a Dense module has where its config does not say
_ORDER = {"Transformer": 0, "Pooling": 1, "Dense": 2, "Normalize": 3}
_log = get_logger(__name__)

Projection = tuple[Tensor, Tensor]
"""A weight [o, i] and a bias [o]."""


@dataclass(frozen=True)
class SentenceSettings:
    """Hold the settings that the files name.

    Attributes:
        projection: what the pooled states go through; None where nothing does.
        most_tokens: of a text; None where the notes do not say.
        lower_case: whether texts are in small letters before the tokenizer sees them.
    """

    projection: Projection | None
    most_tokens: int | None
    lower_case: bool


@dataclass(frozen=True)
class _Module:
    kind: str
    folder: Path


def pooling_of(folder: Path) -> Literal["first", "mean"] | None:
    """Return how the model was trained to pool a text's states; None where no note says so.

    Raises:
        ModelError: the note names another way of pooling, or cannot be read.
    """
    places = [module.folder for module in _modules(folder) if module.kind == "Pooling"]
    note = (places[0] if places else folder / _POOLING_FOLDER) / "config.json"
    if not note.is_file():
        return None
    settings = read_json_object(note)
    older = [mode for key, mode in _OLDER_MODES.items() if settings.get(key)] or ["mean"]
    modes = settings.get("pooling_mode", older)
    mode = modes[0] if isinstance(modes, list) and len(modes) == 1 else modes
    if not isinstance(mode, str) or mode not in _POOLING:
        raise ModelError(f"{note}: pooling_mode is {mode!r}; supported are {' and '.join(_POOLING)}")
    if settings.get("include_prompt") is False:
        _log.warning("%s: include_prompt is false; a palette adds no prompts, so that this changes nothing", note)
    return _POOLING[mode]


def read_sentence_settings(folder: Path, hidden: int) -> SentenceSettings:
    """Return what the notes say of a sentence encoder whose states have ``hidden`` numbers.

    Raises:
        ModelError: they ask for what is not computed; the message names the file and the key.
    """
    modules = _modules(folder)
    _check_order(folder / _MODULES, modules)
    settings = read_json_object(folder / _SETTINGS) if (folder / _SETTINGS).is_file() else {}
    _check_similarity(folder / _SETTINGS, settings, any(module.kind == "Normalize" for module in modules))
    _check_prompts(folder / _SETTINGS, settings)
    projection = None
    for module in modules:
        if module.kind == "Dense":
            projection = _joined(projection, _dense(module.folder))
    projection = _shortened(folder / _SETTINGS, settings.get("truncate_dim"), projection, hidden)
    if projection is not None and projection[0].shape[1] != hidden:
        raise ModelError(
            f"{folder / _MODULES} has a Dense module of {projection[0].shape[1]} inputs; the states have {hidden}"
        )
    return SentenceSettings(projection, *_limits(folder))


def _modules(folder: Path) -> list[_Module]:
    note = folder / _MODULES
    if not note.is_file():
        return []
    try:
        entries = json.loads(read_text_file(note))
        types = [(str(entry["type"]), str(entry["path"])) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"{note} cannot be read; expected sentence-transformers' list of modules") from error
    for name, place in types:
        if not name.startswith(_PACKAGE):
            raise ModelError(f"{note} has a module of type {name!r}, which is code of the checkpoint and is never run")
        if ".." in Path(place).parts or Path(place).is_absolute():
            raise ModelError(f"{note} has a module in {place!r}; expected a folder next to it")
    return [_Module(name.rsplit(".", 1)[-1], folder / place) for name, place in types]


def _check_order(note: Path, modules: list[_Module]) -> None:
    kinds = [module.kind for module in modules]
    unknown = [kind for kind in kinds if kind not in _ORDER]
    if unknown:
        raise ModelError(f"{note} has a module {unknown[0]}; supported are {', '.join(_ORDER)}")
    places = [_ORDER[kind] for kind in kinds]
    if places != sorted(places):
        raise ModelError(f"{note} has the modules {', '.join(kinds)}; supported is the order {', '.join(_ORDER)}")
    if modules and (kinds[0] != "Transformer" or modules[0].folder != note.parent):
        raise ModelError(f"{note}: the Transformer is in {modules[0].folder.name!r}; expected it next to {_MODULES}")


def _check_similarity(path: Path, settings: dict[str, Any], normalized: bool) -> None:
    if settings.get("model_type", "SentenceTransformer") != "SentenceTransformer":
        raise ModelError(f"{path}: model_type is {settings['model_type']!r}; only 'SentenceTransformer' is supported")
    similarity = settings.get("similarity_fn_name") or "cosine"
    if similarity != "cosine" and not normalized:
        raise ModelError(
            f"{path}: similarity_fn_name is {similarity!r} for vectors of any length (no Normalize in {_MODULES}); "
            "a palette's vectors have unit length, so that only 'cosine' is supported"
        )


def _check_prompts(path: Path, settings: dict[str, Any]) -> None:
    prompts = settings.get("prompts") or {}
    if not isinstance(prompts, dict):
        raise ModelError(f"{path}: prompts is {prompts!r}; expected names with their texts")
    default = settings.get("default_prompt_name")
    if default is not None and prompts.get(default):
        raise ModelError(
            f"{path}: default_prompt_name puts {prompts[default]!r} before every text, which is not supported; "
            "remove it there, and put it before your texts yourself, in training and on the device"
        )
    named = [f"{name} {text!r}" for name, text in prompts.items() if text]
    if named:
        _log.warning("%s: a palette adds no prompts (%s); put them before your texts yourself", path, ", ".join(named))


def _dense(folder: Path) -> Projection:
    note, weights = folder / "config.json", folder / "model.safetensors"
    settings = read_json_object(note)
    activation = settings.get("activation_function", _TANH)
    if activation not in (_IDENTITY, None):
        raise ModelError(f"{note}: activation_function is {activation!r}; only {_IDENTITY!r} is supported")
    if settings.get("use_residual"):
        raise ModelError(f"{note}: use_residual is true; only false is supported")
    for key in ("module_input_name", "module_output_name"):
        if settings.get(key) not in (None, "sentence_embedding"):
            raise ModelError(f"{note}: {key} is {settings[key]!r}; only 'sentence_embedding' is supported")
    try:
        tensors = {name: tensor.float() for name, tensor in load_file(weights).items()}
        weight = tensors["linear.weight"]
        bias = tensors["linear.bias"] if settings.get("bias", True) else torch.zeros(len(weight))
    except (OSError, SafetensorError, KeyError) as error:
        raise ModelError(f"{weights} cannot be read as the weights of a Dense module: {error}") from error
    if weight.ndim != 2 or bias.shape != weight.shape[:1]:
        raise ModelError(f"{weights} has a weight {list(weight.shape)} and a bias {list(bias.shape)}, which do not fit")
    if not bool(torch.isfinite(weight).all() and torch.isfinite(bias).all()):
        raise ModelError(f"{weights} has numbers that are not finite; download it again")
    return weight, bias


def _joined(first: Projection | None, second: Projection) -> Projection:
    """Return one projection that does what both do in turn."""
    if first is None:
        return second
    if second[0].shape[1] != first[0].shape[0]:
        raise ModelError(f"a Dense module has {second[0].shape[1]} inputs; the one before it gives {len(first[0])}")
    return second[0] @ first[0], second[0] @ first[1] + second[1]


def _shortened(path: Path, width: object, projection: Projection | None, hidden: int) -> Projection | None:
    """Return the projection to the first ``width`` numbers: of unit vectors, cosines are those of the cut ones."""
    if width is None:
        return projection
    whole = (torch.eye(hidden), torch.zeros(hidden)) if projection is None else projection
    if not isinstance(width, int) or not 1 <= width <= len(whole[0]):
        raise ModelError(f"{path}: truncate_dim is {width!r}; expected 1 to {len(whole[0])}")
    return whole[0][:width], whole[1][:width]


def _limits(folder: Path) -> tuple[int | None, bool]:
    """Return the longest text in tokens, and whether texts are put in small letters."""
    notes = sorted(folder.glob("sentence_*_config.json"))
    if not notes:
        return None, False
    settings = read_json_object(notes[0])
    most = settings.get("max_seq_length")
    if most is not None and (not isinstance(most, int) or most < 1):
        raise ModelError(f"{notes[0]}: max_seq_length is {most!r}; expected a number of tokens")
    task = settings.get("transformer_task", "feature-extraction")
    if task != "feature-extraction":
        raise ModelError(f"{notes[0]}: transformer_task is {task!r}; only 'feature-extraction' is supported")
    return most, bool(settings.get("do_lower_case"))
