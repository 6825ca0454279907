"""One record to one row: what a text and a label have to be for each task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from edgedistill.distillation.tables import Table
from edgedistill.errors import DataError
from edgedistill.subnet import TaskName

__all__ = ["RawLabel", "Row", "Text", "rows_of"]

Text = str | tuple[str, ...]
"""A text, a pair of them, or the words of one."""
RawLabel = str | float | tuple[str, ...]
"""A class's name, a number, or a class's name for each word."""
Row = tuple[Text, RawLabel | None]


def rows_of(table: Table, task: TaskName, text_columns: Sequence[str], label_column: str | None) -> list[Row]:
    """Every record's text and label; None as the label where there is no label column.

    Raises:
        DataError: a column is missing, or a row's text or label is none for the task.
    """
    for column in (*text_columns, *([] if label_column is None else [label_column])):
        if column not in table.columns:
            raise DataError(f"{table.place} has no column {column!r}; it has {', '.join(table.columns)}")
    names = table.label_names.get(label_column, []) if label_column is not None else []
    rows: list[Row] = []
    for number, record in enumerate(table.records, 1):
        place = f"{table.place}, row {number}"
        text = _text([record.get(column) for column in text_columns], task, place)
        label = None if label_column is None else _label(record.get(label_column), names, text, task, place)
        rows.append((text, label))
    return rows


def _text(values: list[Any], task: TaskName, place: str) -> Text:
    if task == "token-classification":
        return _words(values[0], "word", place)
    texts = tuple(_string(value, place) for value in values)
    return texts[0] if len(texts) == 1 else texts


def _string(value: Any, place: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{place} has no text; expected a string that is not blank")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{place} has a text that no UTF-8 can hold: half of a character (a lone surrogate)") from error
    return value


def _words(value: Any, what: str, place: str) -> tuple[str, ...]:
    """A list of strings, or a string with blanks in between, as CSV has it."""
    words = value.split() if isinstance(value, str) else value
    if not isinstance(words, list) or not words:
        raise DataError(f"{place} has no list of {what}s; expected strings in a list, or with blanks in between")
    for word in words:
        if not isinstance(word, str) or not word.strip():
            raise DataError(f"{place} has the {what} {word!r}; expected strings that are not blank")
        _string(word, place)
    return tuple(words)


def _label(value: Any, names: list[str], text: Text, task: TaskName, place: str) -> RawLabel:
    if task == "text-classification":
        return _class(value, names, place)
    if task == "token-classification":
        return _tags(value, names, len(text), place)
    return _number(value, place)


def _class(value: Any, names: list[str], place: str) -> str:
    if isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    if not isinstance(value, str | int) or not str(value).strip():
        raise DataError(f"{place} has no label; expected a name or a whole number")
    return str(value)


def _tags(value: Any, names: list[str], words: int, place: str) -> tuple[str, ...]:
    if isinstance(value, list):
        value = [_class(tag, names, place) if isinstance(tag, int) else tag for tag in value]
    tags = _words(value, "tag", place)
    if len(tags) != words:
        raise DataError(f"{place} has {len(tags)} tags for {words} words; expected one for each")
    return tags


def _number(value: Any, place: str) -> float:
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{place} has the label {value!r}; expected a finite number")
    return number
