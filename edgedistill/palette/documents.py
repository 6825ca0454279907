"""Parse the JSON files of a palette, which may come from anyone, within bounds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from edgedistill.errors import PaletteError
from edgedistill.palette.migrations import Step

__all__ = ["MAX_JSON_BYTES", "MAX_VALUES", "parse_json", "parse_versioned"]

# A file is read whole, and takes some hundred bytes of memory for each of its values while it is validated.
MAX_JSON_BYTES = 64 * 10**6
MAX_VALUES = 250_000

_Model = TypeVar("_Model", bound=BaseModel)


def parse_json(
    path: Path,
    content: bytes,
    model: type[_Model],
    again: str = "export the palette again",
    max_values: int = MAX_VALUES,
) -> _Model:
    """Validate one JSON file; the message has the first thing wrong, and how to make the file ``again``.

    Raises:
        PaletteError: it is damaged, or has more than ``max_values`` values.
    """
    return _validated(path, _bounded_text(path, content, again, max_values), model, again)


def parse_versioned(
    path: Path,
    content: bytes,
    model: type[_Model],
    version: int,
    steps: Mapping[int, Step],
    again: str = "export the palette again",
) -> tuple[_Model, dict[str, Any]]:
    """Validate one JSON file of this schema ``version``, or of one that ``steps`` migrate; return the parsed JSON too.

    Raises:
        PaletteError: it is damaged, too large, or of another version.
    """
    text = _bounded_text(path, content, again, MAX_VALUES)
    try:
        document = from_json(text)
    except ValueError as error:
        raise PaletteError(f"{path}: document: Invalid JSON: {error}; {again}") from error
    if isinstance(document, dict):
        migrated = _migrated(path, document, version, steps, again)
        if migrated is not document:
            text = json.dumps(migrated)
    return _validated(path, text, model, again), document


def _migrated(
    path: Path, document: dict[str, Any], version: int, steps: Mapping[int, Step], again: str
) -> dict[str, Any]:
    own = document.get("schema_version")
    if type(own) is not int or own == version:  # validation refuses what is not a number
        return document
    if own not in steps:
        readable = ", ".join(str(number) for number in (version, *sorted(steps, reverse=True)))
        reason = "it is newer than this edgedistill: update that" if own > version else again
        raise PaletteError(f"{path}: schema_version is {own}, expected one of {readable}; {reason}")
    for number in range(own, version):
        document = steps[number](document)
    return document


def _bounded_text(path: Path, content: bytes, again: str, max_values: int) -> str:
    values = sum(map(content.count, (b",", b"[", b"{"))) + 1
    if values > max_values:
        raise PaletteError(f"{path} has about {values:,} values, expected at most {max_values:,}; {again}")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise PaletteError(f"{path} is not UTF-8 text: it is damaged; {again}") from error


def _validated(path: Path, text: str, model: type[_Model], again: str) -> _Model:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "document"
        raise PaletteError(f"{path}: {place}: {first['msg']}; {again}") from error
