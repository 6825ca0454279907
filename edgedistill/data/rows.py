"""One record to one row: a text and a label, as the task reads them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from edgedistill.data.tables import Table
from edgedistill.errors import DataError
from edgedistill.tasks import TaskName, task_of
from edgedistill.tasks.fields import RawLabel, Text

__all__ = ["Row", "rows_of"]

Row = tuple[Text, RawLabel | None]


def rows_of(table: Table, task: TaskName, text_columns: Sequence[str], label_column: str | None) -> list[Row]:
    """Return every record's text and label; None as the label without a label column.

    Raises:
        DataError: a column is missing, or a row's text or label is not one for the task.
    """
    reader = task_of(task)
    texts = [_column(table, column) for column in text_columns]
    label_column = None if label_column is None else _column(table, label_column)
    names = table.label_names.get(label_column, []) if label_column is not None else []
    rows: list[Row] = []
    for index, record in enumerate(table.records):
        place = table.place_of(index)
        text = reader.text([record.get(column) for column in texts], place)
        label = None if label_column is None else reader.label(record.get(label_column), names, text, place)
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
