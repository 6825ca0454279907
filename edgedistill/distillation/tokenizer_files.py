"""Read a checkpoint's tokenizer as transformers does, without running code of the checkpoint."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from edgedistill.errors import ModelError
from edgedistill.library_errors import disk_errors, library_errors
from edgedistill.supernet.families import family_of
from edgedistill.supernet.model_config import load_config, read_json_object

__all__ = ["check_for_encoder", "has_tokenizer", "read_tokenizer", "settings_of", "token_limit"]

_TOKENIZER_FILES = ("tokenizer.json", "vocab.*", "*.model")
_SETTINGS = "tokenizer_config.json"
_FEWEST_TOKENS = 4  # as the recipe's max_tokens
_PLACEHOLDER = 1e9  # transformers writes int(1e30) for "not known"


def has_tokenizer(folder: Path) -> bool:
    """Return whether the folder has a file of a tokenizer; transformers makes up an empty one where it has none."""
    return any(path for pattern in _TOKENIZER_FILES for path in folder.glob(pattern))


def read_tokenizer(folder: Path) -> tuple[Any, dict[str, Any]]:
    """Return transformers' own tokenizer of the model, and the JSON of the fast one in it.

    Raises:
        ModelError: the folder has none that transformers can read without code of the checkpoint.
    """
    from transformers import AutoTokenizer

    if not has_tokenizer(folder):
        raise ModelError(f"{folder} has no tokenizer; expected a tokenizer.json beside the weights")
    settings = folder / _SETTINGS
    _refuse_code(settings, read_json_object(settings) if settings.is_file() else {})
    config = load_config(folder, family_of)
    _check_stored_ids(folder, config.vocab_size)
    with library_errors(
        ModelError, f"{folder} has no fast tokenizer that can be read", "expected a tokenizer.json beside the weights"
    ):
        wrapper = AutoTokenizer.from_pretrained(folder, config=config, trust_remote_code=False, local_files_only=True)
        document = json.loads(wrapper.backend_tokenizer.to_str())
        _check_ids(folder, wrapper, config)
    return wrapper, document


def settings_of(wrapper: Any) -> dict[str, Any]:
    """Return what transformers writes as tokenizer_config.json, without what lies in other files or means no more."""
    with tempfile.TemporaryDirectory() as scratch, disk_errors(Path(scratch)):
        try:
            wrapper.save_pretrained(scratch)
        except UnicodeError as error:
            raise ModelError(f"{_SETTINGS} is not valid Unicode: {error}; download it again") from error
        settings = read_json_object(Path(scratch) / _SETTINGS)
    settings["model_input_names"] = list(wrapper.model_input_names)
    left_out = ("added_tokens_decoder", "auto_map", "chat_template", "is_local", "local_files_only", "name_or_path")
    return {key: value for key, value in settings.items() if key not in left_out}


def token_limit(folder: Path, wrapper: Any) -> int | None:
    """Return the tokenizer's ``model_max_length``; None where it is transformers' placeholder for "not known".

    Raises:
        ModelError: it is not a number of tokens.
    """
    limit = wrapper.model_max_length
    if not isinstance(limit, int | float) or not limit >= _FEWEST_TOKENS:
        raise ModelError(
            f"{folder / _SETTINGS}: model_max_length is {limit!r}; expected {_FEWEST_TOKENS} tokens or more"
        )
    return int(limit) if limit < _PLACEHOLDER else None


def check_for_encoder(folder: Path, wrapper: Any, document: dict[str, Any], rows: int, *, pairs: bool) -> None:
    """Check what an encoder needs of its tokenizer, and make ``document`` mark both texts of a pair alike if need be.

    transformers passes token types only where the tokenizer's ``model_input_names`` has them; elsewhere all are 0.

    Args:
        folder: for messages.
        wrapper: transformers' tokenizer.
        document: the JSON of the fast tokenizer; its post-processor may change.
        rows: of the table of token types; 0 where the model has none.
        pairs: whether texts come in pairs.

    Raises:
        ModelError: it cuts texts at the left, splits special tokens, has no padding token, or marks more types than
            the model has.
    """
    path = folder / _SETTINGS
    if wrapper.pad_token is None:
        raise ModelError(f"the tokenizer in {folder} has no padding token; batches need one")
    if wrapper.truncation_side != "right":
        raise ModelError(f"{path}: truncation_side is {wrapper.truncation_side!r}; only 'right' is supported")
    if getattr(wrapper, "split_special_tokens", False):
        raise ModelError(f"{path}: split_special_tokens is true; only false is supported")
    if "token_type_ids" not in wrapper.model_input_names:
        document["post_processor"] = _without_types(document["post_processor"])
    elif rows:
        with library_errors(ModelError, f"the tokenizer in {folder} cannot encode a text"):
            tokenizer = Tokenizer.from_str(json.dumps(document))
            text = tokenizer.encode("a", "a" if pairs else None)
        most = max(text.type_ids, default=0)
        if most >= rows:
            raise ModelError(
                f"{folder}: the tokenizer marks tokens with type {most}, and config.json has type_vocab_size = {rows}; "
                "expected a model with a row for each type"
            )


def _check_stored_ids(folder: Path, rows: int) -> None:
    """Refuse ids without a row before tokenizers reads them: it would count up to the highest for minutes."""
    path = folder / "tokenizer.json"
    model = read_json_object(path).get("model") if path.is_file() else None
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    ids = vocabulary.values() if isinstance(vocabulary, dict) else ()
    _check_rows(folder, max((id_ for id_ in ids if isinstance(id_, int)), default=0), rows)


def _check_ids(folder: Path, wrapper: Any, config: Any) -> None:
    """Refuse token ids that the embedding table has no row for, also those that only the post-processor adds."""
    plain = Tokenizer.from_str(wrapper.backend_tokenizer.to_str())
    plain.no_padding()
    special = plain.encode("").ids + plain.encode("", "").ids
    most = max((*wrapper.get_vocab().values(), *special), default=0)
    _check_rows(folder, most, config.vocab_size)


def _check_rows(folder: Path, most: int, rows: int) -> None:
    if most >= rows:
        raise ModelError(
            f"{folder}: the tokenizer has token ids up to {most}, the embedding table has {rows} rows; "
            "resize the embeddings or remove the added tokens"
        )


def _without_types(processor: dict[str, Any] | None) -> dict[str, Any]:
    """Return a post-processor that adds the same tokens and gives each the type 0."""
    parts = [] if processor is None else processor.get("processors", [processor])
    kinds = {part["type"] for part in parts}
    changed = [_template(part["cls"], part["sep"]) if part["type"] == "BertProcessing" else part for part in parts]
    if not kinds & {"BertProcessing", "RobertaProcessing", "TemplateProcessing"}:
        changed.append(_template(None, None))
    result = _all_of_type_0({"type": "Sequence", "processors": changed} if len(changed) > 1 else changed[0])
    assert isinstance(result, dict)
    return result


def _template(begin: tuple[str, int] | None, end: tuple[str, int] | None) -> dict[str, Any]:
    """Return the JSON of a post-processor that puts these tokens before and behind texts."""
    specials = {token: {"id": token, "ids": [row], "tokens": [token]} for token, row in filter(None, (begin, end))}
    first, last = ([{"SpecialToken": {"id": mark[0], "type_id": 0}}] if mark else [] for mark in (begin, end))
    texts = [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"]
    single = [*first, texts[0], *last]
    pair = [*single, texts[1], *last]
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": specials}


def _all_of_type_0(value: Any) -> Any:
    if isinstance(value, list):
        return [_all_of_type_0(item) for item in value]
    if isinstance(value, dict):
        return {key: 0 if key == "type_id" else _all_of_type_0(item) for key, item in value.items()}
    return value


def _refuse_code(path: Path, settings: dict[str, Any]) -> None:
    """Refuse a tokenizer that is Python code of the checkpoint: its built-in stand-in may read texts differently."""
    from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

    name = settings.get("tokenizer_class")
    if settings.get("auto_map") and isinstance(name, str) and tokenizer_class_from_name(name) is None:
        raise ModelError(
            f"{path}: tokenizer_class {name!r} is code of the checkpoint (auto_map), which is never run; "
            "save the tokenizer as a PreTrainedTokenizerFast"
        )
