"""Read a checkpoint's tokenizer as transformers does, without running code of the checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgedistill.errors import ModelError
from edgedistill.supernet.families.supported import check_supported
from edgedistill.supernet.model_config import load_config, read_json_object

__all__ = ["read_tokenizer"]

_TOKENIZER_FILES = ("tokenizer.json", "vocab.*", "*.model")
_SETTINGS = "tokenizer_config.json"


def read_tokenizer(folder: Path) -> tuple[Any, dict[str, Any]]:
    """Return transformers' own tokenizer of the model, and the JSON of the fast one in it.

    Raises:
        ModelError: the folder has none that transformers can read without code of the checkpoint.
    """
    from transformers import AutoTokenizer

    # transformers makes up an empty tokenizer where there is no file at all.
    if not any(path for pattern in _TOKENIZER_FILES for path in folder.glob(pattern)):
        raise ModelError(f"{folder} has no tokenizer; expected a tokenizer.json beside the weights")
    settings = folder / _SETTINGS
    _refuse_code(settings, read_json_object(settings) if settings.is_file() else {})
    config = load_config(folder, check_supported)
    try:
        wrapper = AutoTokenizer.from_pretrained(folder, config=config, trust_remote_code=False, local_files_only=True)
        return wrapper, json.loads(wrapper.backend_tokenizer.to_str())
    except Exception as error:  # transformers and tokenizers raise many kinds, some of them bare
        first = " ".join(str(error).split())
        raise ModelError(
            f"{folder} has no fast tokenizer that can be read ({first}); expected a tokenizer.json beside the weights"
        ) from error


def _refuse_code(path: Path, settings: dict[str, Any]) -> None:
    """Refuse a tokenizer that is Python code of the checkpoint: its built-in stand-in may read texts differently."""
    from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

    name = settings.get("tokenizer_class")
    if settings.get("auto_map") and isinstance(name, str) and tokenizer_class_from_name(name) is None:
        raise ModelError(
            f"{path}: tokenizer_class {name!r} is code of the checkpoint (auto_map), which is never run; "
            "save the tokenizer as a PreTrainedTokenizerFast"
        )
