"""Write a supernet's tokenizer as transformers loads it: of the class and with the settings that the base model had."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import transformers
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from edgedistill.errors import ExportError
from edgedistill.library_errors import quiet
from edgedistill.supernet.checkpoint import Supernet

__all__ = ["write_tokenizer"]

_ANY_CLASS = "PreTrainedTokenizerFast"  # takes the tokenizer as it is
_SAMPLED_TOKENS = 256
_TEXTS = ("Hello, World!", "  two  blanks ", "naïve Ünïcode 漢字 🙂", "don't, can't: 1,000.5")


def write_tokenizer(supernet: Supernet, folder: Path, most_tokens: int, marks: Mapping[str, str]) -> None:
    """Write tokenizer.json and tokenizer_config.json into a folder that has a config.json.

    The base model's own tokenizer class rebuilds parts of a tokenizer from its settings. Where it then reads texts
    otherwise than the supernet, which may have a trimmed vocabulary, transformers' general class is written instead.

    Args:
        supernet: whose tokenizer and settings.
        folder: where to.
        most_tokens: of a text.
        marks: special tokens by their names in tokenizer_config.json, where the settings do not say.

    Raises:
        ExportError: transformers reads texts otherwise with either class.
    """
    supernet.tokenizer.save(str(folder / "tokenizer.json"))
    types = ["token_type_ids"] if getattr(supernet.model.arch, "token_types", 0) else []
    defaults = {"tokenizer_class": _ANY_CLASS, "model_input_names": ["input_ids", *types, "attention_mask"], **marks}
    settings = defaults | supernet.info.tokenizer_settings | {"model_max_length": most_tokens}
    for name in dict.fromkeys((settings["tokenizer_class"], _ANY_CLASS)):
        document = json.dumps(settings | {"tokenizer_class": name}, indent=2, ensure_ascii=False)
        (folder / "tokenizer_config.json").write_text(document, encoding="utf-8")
        if _reads_alike(folder, supernet.tokenizer, marks.values(), bool(types)):
            return
    raise ExportError(f"transformers reads texts otherwise than the tokenizer of {supernet.info.base_model}")


def _reads_alike(folder: Path, ours: Tokenizer, marks: Collection[str], types: bool) -> bool:
    """Return whether transformers' tokenizer in the folder gives the same tokens for texts and for pairs."""
    try:
        with quiet(transformers):
            theirs: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception:  # noqa: BLE001 (a class that cannot be rebuilt from this tokenizer raises any kind)
        return False
    for first, second in _samples(ours, marks):
        expected, actual = ours.encode(first, second), theirs(first, second, verbose=False)
        if actual["input_ids"] != expected.ids:
            return False
        if types and actual.get("token_type_ids", [0] * len(expected.ids)) != expected.type_ids:
            return False
    return True


def _samples(tokenizer: Tokenizer, marks: Collection[str]) -> Iterator[tuple[str, str | None]]:
    """Yield texts and pairs of tokens from all over the vocabulary, and some with capitals, accents and blanks.

    Texts that spell a special token are left out: transformers reads it as that token, also where the tokenizer has it
    as an ordinary word.
    """
    size = tokenizer.get_vocab_size()
    ids = range(0, size, max(1, size // _SAMPLED_TOKENS))
    texts = [tokenizer.decode(list(ids[start : start + 8])) for start in range(0, len(ids), 8)]
    texts = [text for text in (*texts, *_TEXTS) if text.strip() and not any(mark in text for mark in marks)]
    yield from zip(texts, [None, *texts[:-1]], strict=True)
    yield from ((text, None) for text in texts[1:])
