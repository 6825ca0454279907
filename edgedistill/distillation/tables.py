"""Files and hub data sets as tables of records, every fault told by its file and line."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedistill.errors import DataError

__all__ = ["SPLITS", "Table", "read_lines", "read_tables"]

SPLITS = ("train", "validation", "test")
_SUFFIXES = (".csv", ".jsonl", ".json")


@dataclass(frozen=True)
class Table:
    """The records of one split.

    Attributes:
        place: the file, or the data set and split, for messages.
        columns: in the file's order.
        records: at least one; a column may be missing from some.
        label_names: of a column whose labels are stored as their places in such a list.
    """

    place: str
    columns: list[str]
    records: list[dict[str, Any]]
    label_names: dict[str, list[str]]


def read_tables(
    source: str, needed: Collection[str] = ("train",), splits: Collection[str] = SPLITS
) -> dict[str, Table]:
    """The ``splits`` that there are in a folder (CSV or JSON Lines) or a hub data set.

    Raises:
        DataError: there is no such source, none of the ``needed`` splits is there, or a file cannot be read.
    """
    folder = Path(source)
    if folder.is_dir():
        tables = _folder_tables(folder, splits)
        found = "no " + " and no ".join(f"{name}.csv or {name}.jsonl" for name in needed)
        expected = "expected train, validation and test files"
    elif folder.exists() or source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise DataError(
            f"{source} is no folder; expected one with train, validation and test as .csv or .jsonl, "
            "or a hub id (owner/name)"
        )
    else:
        tables = _hub_tables(source, splits)
        found, expected = f"no {' or '.join(needed)} split", f"it has {', '.join(tables) or 'none that is known'}"
    if not any(name in tables for name in needed):
        raise DataError(f"{source} has {found}; {expected}")
    return tables


def read_lines(path: Path) -> list[tuple[int, str]]:
    """(number from 1, text) of every line that is not blank.

    Raises:
        DataError: the file is missing, a folder, empty, or no UTF-8.
    """
    if not path.is_file():
        raise DataError(
            f"{path} is {'a folder' if path.is_dir() else 'not there'}; expected a file of texts, one a line"
        )
    try:
        # Of bytes, since within a text other marks, as U+2028, are no line ends.
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; expected a file of texts, one a line") from error
    texts = [(number, _decoded(line, path, number)) for number, line in enumerate(lines, 1) if line.strip()]
    if not any(text.strip() for _, text in texts):
        raise _empty(path)
    return [(number, text) for number, text in texts if text.strip()]


def _decoded(line: bytes, path: Path, number: int) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} cannot be read: line {number} is no UTF-8; save the file as UTF-8") from error


def _folder_tables(folder: Path, splits: Collection[str]) -> dict[str, Table]:
    files = {name: path for name in splits if (path := _file_of(folder, name)) is not None}
    return {name: _read_csv(path) if path.suffix == ".csv" else _read_json(path) for name, path in files.items()}


def _file_of(folder: Path, split: str) -> Path | None:
    found = [path for suffix in _SUFFIXES if (path := folder / f"{split}{suffix}").is_file()]
    if len(found) > 1:
        raise DataError(f"{folder} has both {found[0].name} and {found[1].name}; expected one file a split")
    return found[0] if found else None


def _read_csv(path: Path) -> Table:
    """Every field is a string, as it stands: 01 is no 1, and "null" is a text."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            try:
                header = next(filter(None, rows), [])
                fields = [(rows.line_num, row) for row in rows if row]
            except csv.Error as error:
                raise DataError(f"{path}, line {rows.line_num} is no CSV: {error}; expected quotes in pairs") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}; expected CSV in UTF-8") from error
    if not fields:
        raise _empty(path)
    if len(set(header)) < len(header):
        raise DataError(f"{path} has two columns of the same name; it has {', '.join(header)}")
    for line, row in fields:
        if len(row) != len(header):
            raise DataError(
                f"{path}, line {line} has {len(row)} fields; expected {len(header)} as in the header, "
                "and a text with a comma in quotes"
            )
    return Table(str(path), header, [dict(zip(header, row, strict=True)) for _, row in fields], {})


def _read_json(path: Path) -> Table:
    records = [_record(line, path, number) for number, line in read_lines(path)]
    columns = list(dict.fromkeys(column for record in records for column in record))
    return Table(str(path), columns, records, {})


def _record(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}, line {number} is no JSON; expected one object a line") from error
    if not isinstance(record, dict):
        raise DataError(f"{path}, line {number} is no JSON object; expected one with a text and a label")
    return record


def _hub_tables(name: str, splits: Collection[str]) -> dict[str, Table]:
    import datasets

    with _silent(datasets):
        try:
            found = datasets.load_dataset(name, trust_remote_code=False)  # versions before 4 would ask
        except Exception as error:  # the hub's client raises many kinds, some of them bare
            raise DataError(f"{name} is no folder here, and no data set could be fetched by that id") from error
    return {split: _hub_table(f"{name}, {split}", found[split]) for split in splits if split in found}


def _hub_table(place: str, rows: Any) -> Table:
    """Labels are named by their column's feature, or, where a row has a list of them, by the list's."""
    if not len(rows):
        raise _empty(place)
    features = {column: getattr(feature, "feature", feature) for column, feature in rows.features.items()}
    names = {column: list(f.names) for column, f in features.items() if hasattr(f, "names")}
    return Table(place, rows.column_names, rows.to_list(), names)


@contextmanager
def _silent(datasets: Any) -> Iterator[None]:
    """Without progress bars, and without log lines on what is raised anyway or tried again."""
    hidden, disabled = datasets.are_progress_bars_disabled(), logging.root.manager.disable
    datasets.disable_progress_bars()
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(disabled)
        if not hidden:
            datasets.enable_progress_bars()


def _empty(place: str | Path) -> DataError:
    return DataError(f"{place} is empty; expected rows with a text")
