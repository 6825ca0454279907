"""A user's texts and labels: train, validation and test, checked row by row.

Where a split is missing it is cut from the training rows as GLUE's users do: seeded, deduplicated,
stratified.
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedistill.errors import DataError

__all__ = ["ClassificationData", "Split", "load_classification"]

_SPLITS = ("train", "validation", "test")
_READERS = {".csv": "csv", ".jsonl": "json", ".json": "json"}
_SPLIT_SEED = 0
_VALIDATION_SHARE = 0.05  # of train, where only validation is missing
_TENTH = 0.1  # of train, for each of validation and test, where both are missing
_FEWEST_A_LABEL = 5  # to cut splits from: one for each of them, and some to learn from

_Row = tuple[str, str]


@dataclass(frozen=True)
class Split:
    """Texts, and for each the index of its label."""

    texts: tuple[str, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True)
class ClassificationData:
    """Single texts with one label each.

    ``columns`` are the names of the text's and the label's, as they were read; ``sha256`` is over every row of
    every split, in order.
    """

    train: Split
    validation: Split
    test: Split
    label_names: tuple[str, ...]
    source: str
    columns: tuple[str, str]
    sha256: str

    @classmethod
    def from_rows(
        cls, rows: dict[str, list[_Row]], source: str, columns: tuple[str, str] = ("text", "label")
    ) -> ClassificationData:
        """Number the labels of train in alphabetical order.

        Raises:
            DataError: a label that train does not have.
        """
        names = tuple(sorted({label for _, label in rows["train"]}))
        index = {name: place for place, name in enumerate(names)}
        for split in _SPLITS[1:]:
            unseen = sorted({label for _, label in rows[split]} - index.keys())
            if unseen:
                raise DataError(f"{source}: {split} has the label {unseen[0]!r}, which train has not")
        train, validation, test = (
            Split(tuple(text for text, _ in rows[name]), tuple(index[label] for _, label in rows[name]))
            for name in _SPLITS
        )
        digest = hashlib.sha256(json.dumps([rows[name] for name in _SPLITS]).encode()).hexdigest()
        return cls(train, validation, test, names, source, columns, digest)


def load_classification(
    source: str | Path, *, text_column: str = "text", label_column: str = "label"
) -> ClassificationData:
    """Read a folder with train, validation and test as CSV or JSON Lines, or a hub data set.

    Without test, validation is the test split and 5 % of train becomes validation; with train alone, a tenth
    of it becomes each.

    Raises:
        DataError: a file, column, text or label is missing or cannot be used.
    """
    tables = _tables(str(source), (text_column, label_column))
    rows = {name: _rows(table, text_column, label_column) for name, table in tables.items()}
    names = {label for _, label in rows["train"]}
    if len(names) < 2:
        raise DataError(f"{source}: every row of train has the label {names.pop()!r}; expected at least two labels")
    return ClassificationData.from_rows(_complete(rows, str(source)), str(source), (text_column, label_column))


@dataclass(frozen=True)
class _Table:
    place: str
    columns: list[str]
    records: list[dict[str, Any]]
    label_names: dict[str, list[str]]  # of a column whose labels are stored as their places in such a list


def _tables(source: str, columns: tuple[str, str]) -> dict[str, _Table]:
    folder = Path(source)
    if not folder.is_dir():
        if folder.exists() or source.startswith((".", "/", "~")) or source.count("/") != 1:
            raise DataError(
                f"{source} is no folder; expected one with train, validation and test as .csv or .jsonl, "
                "or a hub id (owner/name)"
            )
        return _hub_tables(source)
    files = {name: path for name in _SPLITS if (path := _file_of(folder, name)) is not None}
    if "train" not in files:
        raise DataError(f"{folder} has no train.csv or train.jsonl; expected train, validation and test files")
    return {name: _read(path, columns) for name, path in files.items()}


def _file_of(folder: Path, split: str) -> Path | None:
    found = [path for suffix in _READERS if (path := folder / f"{split}{suffix}").is_file()]
    if len(found) > 1:
        raise DataError(f"{folder} has both {found[0].name} and {found[1].name}; expected one file a split")
    return found[0] if found else None


def _read(path: Path, columns: tuple[str, str]) -> _Table:
    import datasets

    with _silent(datasets), tempfile.TemporaryDirectory() as cache:
        try:
            if path.suffix == ".csv":
                _check_csv(path)
                # Taken as they stand: by default 01 would become 1, and the text "null" a missing one.
                as_they_stand = {"converters": dict.fromkeys(columns, str), "keep_default_na": False}
                table = datasets.Dataset.from_csv(str(path), cache_dir=cache, keep_in_memory=True, **as_they_stand)
            else:
                _check_json_lines(path)
                table = datasets.Dataset.from_json(str(path), cache_dir=cache, keep_in_memory=True)
        except (datasets.exceptions.DatasetGenerationError, OSError, ValueError) as error:
            cause = " ".join(str(error.__cause__ or error).split())
            raise DataError(f"{path} cannot be read: {cause}; expected CSV or JSON Lines in UTF-8") from error
        return _Table(str(path), list(table.column_names), table.to_list(), {})


def _check_csv(path: Path) -> None:
    """Name the line that is at fault; the reader shifts the columns of a row that has too many."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, strict=True)
        try:
            header = next(filter(None, rows), [])
            counts = [(rows.line_num, len(row)) for row in rows if row]
        except csv.Error as error:
            raise DataError(f"{path}, line {rows.line_num} is no CSV: {error}; expected quotes in pairs") from error
    if not counts:
        raise _empty(path)
    if len(set(header)) < len(header):
        raise DataError(f"{path} has two columns of the same name; it has {', '.join(header)}")
    for line, count in counts:
        if count != len(header):
            raise DataError(
                f"{path}, line {line} has {count} fields; expected {len(header)} as in the header, "
                "and a text with a comma in quotes"
            )


def _check_json_lines(path: Path) -> None:
    """Name the line that is at fault; the reader names a byte of a block."""
    lines = path.read_bytes().splitlines()
    if not any(line.strip() for line in lines):
        raise _empty(path)
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line) if line.strip() else {}
        except ValueError as error:
            raise DataError(f"{path}, line {number} is no JSON; expected one object a line") from error
        if not isinstance(record, dict):
            raise DataError(f"{path}, line {number} is no JSON object; expected one with a text and a label")


def _empty(place: str | Path) -> DataError:
    return DataError(f"{place} is empty; expected rows with a text and a label")


def _hub_tables(name: str) -> dict[str, _Table]:
    import datasets

    with _silent(datasets):
        try:
            found = datasets.load_dataset(name)
        except Exception as error:  # the hub's client raises many kinds, some of them bare
            raise DataError(f"{name} is no folder here, and no data set could be fetched by that id") from error
    tables = {}
    for split in _SPLITS:
        if split in found:
            feature = found[split].features
            names = {column: list(f.names) for column, f in feature.items() if hasattr(f, "names")}
            tables[split] = _Table(f"{name}, {split}", found[split].column_names, found[split].to_list(), names)
    if "train" not in tables:
        raise DataError(f"{name} has no train split; it has {', '.join(found)}")
    return tables


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


def _rows(table: _Table, text_column: str, label_column: str) -> list[_Row]:
    for column in (text_column, label_column):
        if column not in table.columns:
            raise DataError(f"{table.place} has no column {column!r}; it has {', '.join(table.columns)}")
    if not table.records:
        raise _empty(table.place)
    names = table.label_names.get(label_column, [])
    return [
        (_text(record[text_column], table.place, number), _label(record[label_column], names, table.place, number))
        for number, record in enumerate(table.records, 1)
    ]


def _text(value: Any, place: str, number: int) -> str:
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{place}, row {number} has no text; expected a string that is not blank")
    return value


def _label(value: Any, names: list[str], place: str, number: int) -> str:
    if isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    if not isinstance(value, str | int) or not str(value).strip():
        raise DataError(f"{place}, row {number} has no label; expected a name or a whole number")
    return str(value)


def _complete(rows: dict[str, list[_Row]], source: str) -> dict[str, list[_Row]]:
    """Cut the splits that are missing from train."""
    if all(name in rows for name in _SPLITS):
        return rows
    unique = list(dict.fromkeys(rows["train"]))
    _check_enough(unique, source)
    reported = rows.get("test", rows.get("validation"))
    if reported is not None:
        train, validation = _cut(unique, _VALIDATION_SHARE)
        return {"train": train, "validation": validation, "test": reported}
    rest, test = _cut(unique, _TENTH)
    train, validation = _cut(rest, _TENTH / (1 - _TENTH))
    return {"train": train, "validation": validation, "test": test}


def _check_enough(rows: list[_Row], source: str) -> None:
    rarest, count = min(Counter(label for _, label in rows).items(), key=lambda item: item[1])
    if count < _FEWEST_A_LABEL:
        raise DataError(
            f"{source}: {count} different rows of train have the label {rarest!r}, too few to cut a split from; "
            f"give at least {_FEWEST_A_LABEL}, or validation and test files"
        )


def _cut(rows: list[_Row], share: float) -> tuple[list[_Row], list[_Row]]:
    """What is left of the rows, and a share of them, at least a row a label."""
    from sklearn.model_selection import train_test_split

    labels = [label for _, label in rows]
    size = max(round(share * len(rows)), len(set(labels)))
    kept, cut = train_test_split(rows, test_size=size, random_state=_SPLIT_SEED, stratify=labels)
    return kept, cut
