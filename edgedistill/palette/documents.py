"""Parse the JSON files of a palette, which may come from anyone, within bounds."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from edgedistill.errors import PaletteError

__all__ = ["MAX_JSON_BYTES", "MAX_VALUES", "parse_json"]

# A file is read whole, and takes some hundred bytes of memory for each of its values while it is validated.
MAX_JSON_BYTES = 64 * 10**6
MAX_VALUES = 250_000

_Model = TypeVar("_Model", bound=BaseModel)


def parse_json(
    path: Path,
    content: bytes,
    model: type[_Model],
    again: str = "export the palette again",
    most_values: int = MAX_VALUES,
) -> _Model:
    """Validate one JSON file; the first thing wrong, and how to make it ``again``, make the message."""
    values = sum(map(content.count, (b",", b"[", b"{"))) + 1
    if values > most_values:
        raise PaletteError(f"{path} has about {values:,} values, expected at most {most_values:,}; {again}")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise PaletteError(f"{path} is not UTF-8 text: it is damaged; {again}") from error
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "document"
        raise PaletteError(f"{path}: {place}: {first['msg']}; {again}") from error
