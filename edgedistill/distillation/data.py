"""A user's texts and labels: train, validation and test, checked row by row.

Where a split is missing it is cut from the training rows as GLUE's users do: seeded, deduplicated,
stratified.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
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
_HELD_OUT_SHARE = 0.2  # of train, halved, where both are missing
_FEWEST_A_LABEL = 5  # to cut a split from

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
    tables = _tables(str(source))
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
    label_names: list[str] | None


def _tables(source: str) -> dict[str, _Table]:
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
    return {name: _read(path) for name, path in files.items()}


def _file_of(folder: Path, split: str) -> Path | None:
    found = [path for suffix in _READERS if (path := folder / f"{split}{suffix}").is_file()]
    if len(found) > 1:
        raise DataError(f"{folder} has both {found[0].name} and {found[1].name}; expected one file a split")
    return found[0] if found else None


def _read(path: Path) -> _Table:
    import datasets

    content = path.read_bytes().strip()
    if not content or (path.suffix == ".csv" and b"\n" not in content):
        raise DataError(f"{path} is empty; expected rows with a text and a label")
    if path.suffix != ".csv":
        _check_json_lines(path)
    reader = {"csv": datasets.Dataset.from_csv, "json": datasets.Dataset.from_json}[_READERS[path.suffix]]
    with _silent(datasets), tempfile.TemporaryDirectory() as cache:
        try:
            table = reader(str(path), cache_dir=cache, keep_in_memory=True)
        except (datasets.exceptions.DatasetGenerationError, OSError, ValueError) as error:
            cause = error.__cause__ or error
            raise DataError(
                f"{path} cannot be read: {str(cause).splitlines()[0]}; expected CSV or JSON Lines"
            ) from error
        return _Table(str(path), list(table.column_names), table.to_list(), None)


def _check_json_lines(path: Path) -> None:
    """Name the line that is at fault; the reader names a byte of a block."""
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            record = json.loads(line) if line.strip() else {}
        except ValueError as error:
            raise DataError(f"{path}, line {number} is no JSON; expected one object a line") from error
        if not isinstance(record, dict):
            raise DataError(f"{path}, line {number} is no JSON object; expected one with a text and a label")


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
            label_names = next(iter(names.values()), None)
            tables[split] = _Table(f"{name}, {split}", found[split].column_names, found[split].to_list(), label_names)
    if "train" not in tables:
        raise DataError(f"{name} has no train split; it has {', '.join(found)}")
    return tables


@contextmanager
def _silent(datasets: Any) -> Iterator[None]:
    """Without progress bars, notes on how a file is read, and the hub client's tries."""
    hidden, level = datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        datasets.logging.set_verbosity(level)
        if not hidden:
            datasets.enable_progress_bars()


def _rows(table: _Table, text_column: str, label_column: str) -> list[_Row]:
    for column in (text_column, label_column):
        if column not in table.columns:
            raise DataError(f"{table.place} has no column {column!r}; it has {', '.join(table.columns)}")
    if not table.records:
        raise DataError(f"{table.place} is empty; expected rows with a text and a label")
    return [
        (_text(record[text_column], table.place, number), _label(record[label_column], table, number))
        for number, record in enumerate(table.records, 1)
    ]


def _text(value: Any, place: str, number: int) -> str:
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{place}, row {number} has no text; expected a string that is not blank")
    return value


def _label(value: Any, table: _Table, number: int) -> str:
    if isinstance(value, int) and table.label_names and 0 <= value < len(table.label_names):
        return table.label_names[value]
    if value is None or isinstance(value, float) or not str(value).strip():
        raise DataError(f"{table.place}, row {number} has no label; expected a name or a whole number")
    return str(value)


def _complete(rows: dict[str, list[_Row]], source: str) -> dict[str, list[_Row]]:
    """Cut the splits that are missing from train."""
    if all(name in rows for name in _SPLITS):
        return rows
    if "test" in rows:
        train, validation = _cut(rows["train"], _VALIDATION_SHARE, source)
        return {"train": train, "validation": validation, "test": rows["test"]}
    if "validation" in rows:
        train, validation = _cut(rows["train"], _VALIDATION_SHARE, source)
        return {"train": train, "validation": validation, "test": rows["validation"]}
    train, held_out = _cut(rows["train"], _HELD_OUT_SHARE, source)
    validation, test = _cut(held_out, 0.5, source, fewest=2)
    return {"train": train, "validation": validation, "test": test}


def _cut(
    rows: Iterable[_Row], share: float, source: str, fewest: int = _FEWEST_A_LABEL
) -> tuple[list[_Row], list[_Row]]:
    from sklearn.model_selection import train_test_split

    unique = list(dict.fromkeys(rows))
    labels = [label for _, label in unique]
    rarest, count = min(Counter(labels).items(), key=lambda item: item[1])
    size = max(round(share * len(unique)), len(set(labels)))
    if count < fewest or len(unique) - size < len(set(labels)):
        raise DataError(
            f"{source}: {count} different rows have the label {rarest!r}, too few to cut a split from; "
            "add rows, or give validation and test files"
        )
    kept, cut = train_test_split(unique, test_size=size, random_state=_SPLIT_SEED, stratify=labels)
    return kept, cut
