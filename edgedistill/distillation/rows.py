"""One record to one row: what a text and a label have to be for each task."""

from __future__ import annotations

import ast
import json
import math
import unicodedata
from collections.abc import Sequence
from typing import Any

from edgedistill.distillation.labels import class_name, is_missing
from edgedistill.distillation.tables import Table
from edgedistill.errors import DataError
from edgedistill.subnet import TaskName

__all__ = ["RawLabel", "Row", "Text", "rows_of"]

Text = str | tuple[str, ...]
"""A text, a pair of them, or the words of one."""
RawLabel = str | float | tuple[str, ...]
"""A class's name, a number, or a class's name for each word."""
Row = tuple[Text, RawLabel | None]
_LARGEST = (2 - 2**-23) * 2.0**127  # of fp32, which models answer in

_LIST_LIKE = (("['", "']"), ('["', '"]'), ("['", '"]'), ('["', "']"))
_MAX_SHOWN = 60


def rows_of(table: Table, task: TaskName, text_columns: Sequence[str], label_column: str | None) -> list[Row]:
    """Return every record's text and label; None as the label where there is no label column.

    Raises:
        DataError: a column is missing, or a row's text or label is not one for the task.
    """
    texts = [_column(table, column) for column in text_columns]
    label_column = None if label_column is None else _column(table, label_column)
    names = table.label_names.get(label_column, []) if label_column is not None else []
    rows: list[Row] = []
    for index, record in enumerate(table.records):
        place = table.place_of(index)
        text = _text([record.get(column) for column in texts], task, place)
        label = None if label_column is None else _label(record.get(label_column), names, text, task, place)
        rows.append((text, label))
    return rows


def _column(table: Table, name: str) -> str:
    """Find a column by its name, or by one that looks the same."""
    if name in table.columns:
        return name
    same = [column for column in table.columns if _composed(column) == _composed(name)]
    if len(same) == 1:
        return same[0]
    columns = ", ".join(map(repr, table.columns[:20]))
    raise DataError(f"{table.place} has no column {name!r}; it has {columns}; name the columns, or give a header")


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _text(values: list[Any], task: TaskName, place: str) -> Text:
    if task == "token-classification":
        return _words(values[0], "word", place)
    texts = tuple(_string(value, place) for value in values)
    return texts[0] if len(texts) == 1 else texts


def _string(value: Any, place: str) -> str:
    """Return a text; a number is the text that CSV would have for it."""
    if is_missing(value):
        raise DataError(f"{place} has no text; expected a string that is not blank")
    if not isinstance(value, str | int | float):
        kind = type(value).__name__
        raise DataError(f"{place} has the text {_shown(value)}, a {kind}; expected a string")
    return _encodable(str(value), "text", place)


def _encodable(text: str, what: str, place: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place} has a {what} that no UTF-8 can hold: half of a character (a lone surrogate)"
        ) from error
    if "\0" in text:
        raise DataError(f"{place} has a {what} with a NUL character; take it out")
    return text


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}..."


def _words(value: Any, what: str, place: str) -> tuple[str, ...]:
    """Return a list of strings, or those of a string: written as a list, or with blanks in between."""
    words = _listed(value, what, place) if isinstance(value, str) else value
    if not isinstance(words, list) or not words:
        raise DataError(f"{place} has no list of {what}s; expected strings in a list, or with blanks in between")
    for word in words:
        if not isinstance(word, str) or not word.strip():
            raise DataError(f"{place} has the {what} {word!r}; expected strings that are not blank")
        _encodable(word, what, place)
    return tuple(words)


def _listed(text: str, what: str, place: str) -> list[Any]:
    """Read a list as JSON or Python writes it in a field of CSV; else divide the text at blanks."""
    stripped = text.strip()
    if not (stripped.startswith("[") and stripped.endswith("]")):
        return text.split()
    for parse in (json.loads, _python_list):
        try:
            words = parse(stripped)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(words, list) and all(
            isinstance(word, str) or (what, type(word)) == ("tag", int) for word in words
        ):
            return words
    if what == "tag" or any(stripped.startswith(begin) and stripped.endswith(end) for begin, end in _LIST_LIKE):
        raise DataError(
            f"{place} has the {what}s {_shown(text)}, which is not a list as JSON writes it; "
            f'expected ["a", "b"], or {what}s with blanks in between'
        )
    return text.split()


def _python_list(text: str) -> Any:
    """Read what Python's own repr of a list wrote, and nothing else: in "['a' 'b']" of NumPy a comma is missing."""
    value = ast.literal_eval(text)
    if repr(value) != text:
        raise ValueError
    return value


def _label(value: Any, names: list[str], text: Text, task: TaskName, place: str) -> RawLabel:
    if task == "text-classification":
        return _encodable(class_name(value, names, place), "label", place)
    if task == "token-classification":
        return _tags(value, names, len(text), place)
    return _number(value, place)


def _tags(value: Any, names: list[str], words: int, place: str) -> tuple[str, ...]:
    if isinstance(value, str):
        value = _listed(value, "tag", place)
    if isinstance(value, list):
        value = [tag if tag is None else class_name(tag, names, place) for tag in value]
    tags = _words(value, "tag", place)
    if len(tags) != words:
        raise DataError(f"{place} has {len(tags)} tags for {words} words; expected one for each")
    return tags


def _number(value: Any, place: str) -> float:
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or (isinstance(value, str) and "_" in value):
        raise DataError(f"{place} has the label {value!r}; expected a finite number")
    if abs(number) > _LARGEST:
        raise DataError(f"{place} has the label {value!r}; expected a number that fp32 holds, at most {_LARGEST:.3g}")
    return number
