"""JSON Lines, and JSON documents that hold a list of objects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgedistill.data.text_files import lines_of, read_text
from edgedistill.errors import DataError

__all__ = ["JsonRows", "read_json"]

_LIST_KEY = "data"

JsonRows = tuple[list[dict[str, Any]], list[int] | None]
"""The objects, and the line of each; no lines where they are items of one document."""


def read_json(path: Path) -> JsonRows:
    """Read one object a line, a list of objects, or a list below the key "data".

    Raises:
        DataError: the file cannot be read, or is none of these.
    """
    text = read_text(path)
    lines = lines_of(text, path)
    first = _parse(lines[0][1])
    if isinstance(first, dict) and not (len(lines) == 1 and isinstance(first.get(_LIST_KEY), list)):
        return [_object(line, path, number) for number, line in lines], [number for number, _ in lines]
    try:
        document = _load(text)
    except (ValueError, RecursionError) as error:
        if len(lines) > 1 and not isinstance(first, json.JSONDecodeError):
            _object(lines[0][1], path, lines[0][0])
        place = f"{path}, line {error.lineno}" if isinstance(error, json.JSONDecodeError) else str(path)
        reason = getattr(error, "msg", str(error))
        raise DataError(f"{place} is not JSON ({reason}); expected one object a line, or a list of objects") from error
    return _items(document, path), None


def _items(document: Any, path: Path) -> list[dict[str, Any]]:
    """Return the objects of a whole document."""
    items = document.get(_LIST_KEY) if isinstance(document, dict) else document
    if not isinstance(items, list):
        what = f"one object with {', '.join(map(repr, document))}" if isinstance(document, dict) else "one value"
        raise DataError(f'{path} is {what}; expected one object a line, a list of objects, or {{"{_LIST_KEY}": [...]}}')
    for number, item in enumerate(items, 1):
        if not isinstance(item, dict):
            raise DataError(f"{path}, row {number} is not a JSON object; expected one with a text and a label")
    return items


def _object(line: str, path: Path, number: int) -> dict[str, Any]:
    """Parse one line."""
    record = _parse(line)
    if isinstance(record, dict):
        return record
    if isinstance(record, Exception):
        reason = getattr(record, "msg", str(record))
        raise DataError(f"{path}, line {number} is not JSON ({reason}); expected one object a line") from record
    raise DataError(f"{path}, line {number} is not a JSON object; expected one with a text and a label")


def _parse(line: str) -> Any:
    """Return the line's value, or the error that it is not JSON."""
    try:
        return _load(line)
    except (ValueError, RecursionError) as error:
        return error


def _load(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object, but of no two values for one key: json would drop the first of them."""
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {double!r} is there twice")
    return record
