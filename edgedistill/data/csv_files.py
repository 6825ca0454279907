"""CSV and TSV as spreadsheets, pandas and people write them."""

from __future__ import annotations

import csv
import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgedistill.data.text_files import empty, read_text
from edgedistill.errors import DataError

__all__ = ["CsvRows", "read_csv"]

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "'|'"}
_EXCEL_HINT = re.compile(r'"?sep=(.)"?(?:\r\n|\r|\n)')  # Excel's own first line, which names the delimiter
_MAX_FIELD = 2**31 - 1
_limit_lock = threading.Lock()

CsvRows = tuple[list[str], list[int], list[dict[str, str]], list[str]]
"""The columns, the line that each row begins at, the rows, and what was left out of them."""


def read_csv(path: Path, delimiter: str = ",") -> CsvRows:
    """Read rows with every field as the string that stands there: 01 is not 1, and "null" is a text.

    Where the header has one field by ``delimiter`` and several by another usual one, that one divides the fields.

    Raises:
        DataError: the file cannot be read, or a line of it is not CSV.
    """
    text = read_text(path)
    skipped = 0
    hint = _EXCEL_HINT.match(text)
    if hint is not None:
        text, delimiter, skipped = text[hint.end() :], hint[1], 1
    with _unlimited_fields():
        delimiter = delimiter if hint is not None else _delimiter_of(text, delimiter, path)
        lines = list(_records(text, delimiter, path, skipped))
    if not lines:
        raise empty(path)
    (_, header), *rows = lines
    _check_header(header, path)
    if not rows:
        raise empty(path)
    _check_widths(header, rows, delimiter, path)
    named = [place for place, name in enumerate(header) if name.strip()]
    records = [{header[place]: row[place] for place in named if place < len(row)} for _, row in rows]
    notes = _notes(header, [row for _, row in rows], path)
    return [header[place] for place in named], [line for line, _ in rows], records, notes


def _records(text: str, delimiter: str, path: Path, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """Yield each record that is not a blank line, with the line that it begins at."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    begins = 1 + skipped
    try:
        for record in reader:
            if len(record) > 1 or any(field.strip() for field in record):
                yield begins, record
            begins = reader.line_num + 1 + skipped
    except csv.Error as error:
        last = reader.line_num + skipped
        lines = f"line {begins}" if last <= begins else f"lines {begins} to {last}"
        raise DataError(f"{path}, {lines}: not CSV ({error}); expected quotes in pairs around a whole field") from error


def _delimiter_of(text: str, preferred: str, path: Path) -> str:
    """Find what divides the header's fields."""
    widths = {delimiter: len(_header(text, delimiter)) for delimiter in _DELIMITERS}
    others = [delimiter for delimiter, width in widths.items() if width > 1]
    if widths[preferred] > 1 or not others:
        return preferred
    if len(others) > 1:
        names = " and ".join(_DELIMITERS[delimiter] for delimiter in others)
        raise DataError(f"{path} has {names} in its header; expected one delimiter, for example commas")
    return others[0]


def _header(text: str, delimiter: str) -> list[str]:
    """Return the first record that is not blank, read leniently."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return next((record for record in reader if any(field.strip() for field in record)), [])
    except csv.Error:
        return []


def _check_header(header: list[str], path: Path) -> None:
    named = [name for name in header if name.strip()]
    double = next((name for name in named if named.count(name) > 1), None)
    if double is not None:
        raise DataError(f"{path} has two columns of the same name, {double!r}; it has {', '.join(map(repr, named))}")


def _check_widths(header: list[str], rows: list[tuple[int, list[str]]], delimiter: str, path: Path) -> None:
    for line, row in rows:
        if len(row) != len(header) and any(field.strip() for field in row):
            raise DataError(
                f"{path}, line {line} has {len(row)} fields divided by {_DELIMITERS.get(delimiter, repr(delimiter))}; "
                f"expected {len(header)} as in the header, and a text with a delimiter in quotes"
            )


def _notes(header: list[str], rows: list[list[str]], path: Path) -> list[str]:
    """Say where values are left out."""
    nameless = [place for place, name in enumerate(header) if not name.strip()]
    filled = sum(any(place < len(row) and row[place].strip() for place in nameless) for row in rows)
    if not filled:
        return []
    return [f"{path}: columns without a name are left out; {filled} of {len(rows)} rows have values there"]


@contextmanager
def _unlimited_fields() -> Iterator[None]:
    """Lift the csv module's limit on a field's length, which is one for the whole process, for a while."""
    with _limit_lock:
        limit = csv.field_size_limit(_MAX_FIELD)
        try:
            yield
        finally:
            csv.field_size_limit(limit)
