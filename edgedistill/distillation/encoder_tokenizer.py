"""The fast tokenizer of an encoder, read for a task."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from edgedistill.distillation.tokenizer_files import check_for_encoder, read_tokenizer, settings_of, token_limit
from edgedistill.tasks import TaskName, task_of

__all__ = ["EncoderTokenizer", "load_tokenizer"]


@dataclass(frozen=True)
class EncoderTokenizer:
    """The fast tokenizer of an encoder, without padding or truncation set.

    Attributes:
        pad_token: fills rows up.
        most_tokens: the most tokens of a text that the tokenizer's settings allow; None where they do not say.
        settings: the content of tokenizer_config.json.
    """

    tokenizer: Tokenizer
    pad_token: str
    most_tokens: int | None
    settings: dict[str, Any]


def load_tokenizer(folder: Path, task: TaskName, *, types: int, pairs: bool) -> EncoderTokenizer:
    """Read the tokenizer of an encoder.

    Where words come one by one, a tokenizer that tells a word's beginning by the blank before it is given that.

    Args:
        folder: holds the model.
        task: what for.
        types: how many token types the model has.
        pairs: whether texts come in pairs.

    Raises:
        ModelError: the folder has none that transformers can read, or its settings are not supported.
    """
    wrapper, document = read_tokenizer(folder)
    check_for_encoder(folder, wrapper, document, types, pairs=pairs)
    settings = settings_of(wrapper)
    if task_of(task).by_words:
        _put_blanks_first(document["pre_tokenizer"])
        settings |= {"add_prefix_space": True} if "add_prefix_space" in settings else {}
    tokenizer = Tokenizer.from_str(json.dumps(document))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return EncoderTokenizer(tokenizer, str(wrapper.pad_token), token_limit(folder, wrapper), settings)


def _put_blanks_first(pre_tokenizer: dict[str, Any] | None) -> None:
    for part in (pre_tokenizer or {}).get("pretokenizers", [pre_tokenizer or {}]):
        if "add_prefix_space" in part:
            part["add_prefix_space"] = True
