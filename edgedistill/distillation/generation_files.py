"""Read how a decoder's checkpoint says that text is generated: generation_config.json, or config.json without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgedistill.errors import ModelError
from edgedistill.printable import get_logger
from edgedistill.supernet.model_config import CONFIG, read_json_object

__all__ = ["end_tokens", "generation_settings"]

_GENERATION = "generation_config.json"
# Keys that forbid, force or weigh tokens, and the values that do nothing: a palette's texts would differ.
_REFUSED: dict[str, tuple[object, ...]] = {
    "bad_words_ids": (None, []),
    "begin_suppress_tokens": (None, []),
    "constraints": (None, []),
    "diversity_penalty": (None, 0),
    "dola_layers": (None,),
    "encoder_no_repeat_ngram_size": (None, 0),
    "encoder_repetition_penalty": (None, 1),
    "exponential_decay_length_penalty": (None,),
    "force_words_ids": (None, []),
    "forced_bos_token_id": (None,),
    "forced_eos_token_id": (None,),
    "guidance_scale": (None, 1),
    "min_length": (None, 0),
    "min_new_tokens": (None, 0),
    "no_repeat_ngram_size": (None, 0),
    "num_beam_groups": (None, 1),
    "num_beams": (None, 1),
    "penalty_alpha": (None, 0),
    "sequence_bias": (None, {}, []),
    "stop_strings": (None, [], ""),
    "suppress_tokens": (None, []),
    "token_healing": (None, False),
    "watermarking_config": (None,),
}
# How tokens are drawn: the caller says so with each text, and without a word gets the likeliest token each time.
_CALLERS: dict[str, tuple[object, ...]] = {
    "do_sample": (None, False),
    "repetition_penalty": (None, 1),
}
_log = get_logger(__name__)


def generation_settings(folder: Path) -> dict[str, Any]:
    """Return generation_config.json, or where it is missing those keys of config.json that transformers takes for it.

    Raises:
        ModelError: the file cannot be read, or forces or forbids tokens; the message names the key.
    """
    path = folder / _GENERATION
    settings = read_json_object(path) if path.is_file() else {}
    if not path.is_file():
        path = folder / CONFIG
        keys = {"bos_token_id", "eos_token_id", "pad_token_id", *_REFUSED, *_CALLERS}
        settings = {key: value for key, value in read_json_object(path).items() if key in keys}
    for key, neutral in _REFUSED.items():
        if settings.get(key) not in neutral:
            raise ModelError(f"{path}: {key} is {settings[key]!r}, which a palette does not apply; remove it")
    own = [key for key, neutral in _CALLERS.items() if settings.get(key) not in neutral]
    if own:
        _log.warning(
            "%s: %s is not applied by a palette; it gives the likeliest token unless generate() is given temperature",
            path,
            " and ".join(own),
        )
    return settings


def end_tokens(folder: Path, settings: dict[str, Any], own: int | None) -> list[int]:
    """Return the ids that end a text: the tokenizer's own, and those that the settings name.

    Raises:
        ModelError: an id is not a whole number.
    """
    named = settings.get("eos_token_id")
    ids = [own, *(named if isinstance(named, list) else [named])]
    wrong = [row for row in ids if row is not None and (isinstance(row, bool) or not isinstance(row, int))]
    if wrong:
        raise ModelError(f"{folder / _GENERATION}: eos_token_id is {named!r}; expected token ids")
    return list(dict.fromkeys(row for row in ids if row is not None))
