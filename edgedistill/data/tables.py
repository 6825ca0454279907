"""Read files and hub data sets as tables of records, every fault named by its file and line."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from edgedistill.data.csv_files import read_csv
from edgedistill.data.data_files import KINDS, SPLITS, WORDS, find_split_files, kind_of, suffix_of
from edgedistill.data.json_files import read_json
from edgedistill.data.text_files import empty, read_lines
from edgedistill.errors import DataError
from edgedistill.library_errors import quiet
from edgedistill.tasks.labels import is_missing

__all__ = ["SPLITS", "Table", "Tables", "local_path", "read_tables"]

_SHOWN = 5
_SAVED_BY_DATASETS = ("dataset_dict.json", "state.json")


@dataclass(frozen=True)
class Table:
    """The records of one file, or of a split of a data set.

    Attributes:
        place: the file, or the data set and split, for messages.
        columns: in the file's order.
        records: at least one; a column may be missing from some.
        label_names: of a column whose labels are stored as their places in such a list.
        numbers: of the records; None where they are counted from 1.
        counted: what ``numbers`` count.
        notes: what was left out.
    """

    place: str
    columns: list[str]
    records: list[dict[str, Any]]
    label_names: dict[str, list[str]]
    numbers: Sequence[int] | None = None
    counted: Literal["line", "row"] = "row"
    notes: tuple[str, ...] = ()

    def place_of(self, index: int) -> str:
        """Name a record: by the line that it begins at, as an editor counts, where the file has lines."""
        return f"{self.place}, {self.counted} {index + 1 if self.numbers is None else self.numbers[index]}"


@dataclass(frozen=True)
class Tables:
    """The tables of each split, in order, and what there is to say of their choice."""

    splits: dict[str, list[Table]]
    notes: tuple[str, ...]


def local_path(source: str) -> Path | None:
    """Return the path that ``source`` names; None where it is a hub id."""
    path = Path(source)
    is_id = source.count("/") == 1 and not source.startswith((".", "/", "~"))
    return path if path.exists() or not is_id else None


def read_tables(source: str, needed: Collection[str] = ("train",), splits: Collection[str] = SPLITS) -> Tables:
    """Read the ``splits`` that there are in a folder, in a file (which is train), or in a hub data set.

    Raises:
        DataError: the source does not exist, none of the ``needed`` splits is there, or a file cannot be read.
    """
    path = local_path(source)
    if path is None:
        tables = _hub_tables(source, splits)
    elif path.is_dir():
        is_saved = any((path / name).is_file() for name in _SAVED_BY_DATASETS)
        tables = (_saved_tables if is_saved else _folder_tables)(path, splits)
    elif path.is_file() and kind_of(path) is not None:
        tables = Tables({"train": [_read(path)]} if "train" in splits else {}, ())
    else:
        raise DataError(
            f"{source} is not a folder; expected one with train, validation and test as {', '.join(KINDS)}, "
            "or a hub id (owner/name)"
        )
    if not any(name in tables.splits for name in needed):
        raise DataError(_describe_missing(source, tables, needed))
    return tables


def _describe_missing(source: str, tables: Tables, needed: Collection[str]) -> str:
    """Say which splits are missing, and what is there instead."""
    notes = "".join(f"; {note.removeprefix(f'{source}: ')}" for note in tables.notes)
    if local_path(source) is None:
        there = "" if notes else f"; it has {', '.join(tables.splits) or 'none that is known'}"
        return f"{source} has no {' or '.join(needed)} split{there}{notes}"
    names = " or ".join(f"{name}{suffix}" for name in needed for suffix in KINDS)
    return f"{source} has no {' and no '.join(needed)} file; expected {names}{notes}"


def _folder_tables(folder: Path, splits: Collection[str]) -> Tables:
    chosen = find_split_files(folder, splits)
    tables = {split: [_read(path) for path in paths] for split, paths in chosen.files.items()}
    return Tables(tables, tuple(chosen.notes))


def _read(path: Path) -> Table:
    """Read one file by what its name says that it is."""
    kind = kind_of(path)
    if kind == "csv":
        columns, lines, rows, notes = read_csv(path, "\t" if suffix_of(path).startswith(".tsv") else ",")
        table = Table(str(path), columns, list[dict[str, Any]](rows), {}, lines, "line", tuple(notes))
        return _without_empty(table)
    if kind == "text":
        numbered = read_lines(path)
        records = [{"text": line} for _, line in numbered]
        return Table(str(path), ["text"], records, {}, [number for number, _ in numbered], "line")
    if kind == "arrow":
        return _without_empty(_read_arrow(path))
    records, numbers = read_json(path)
    columns = list(dict.fromkeys(column for record in records for column in record))
    return _without_empty(Table(str(path), columns, records, {}, numbers, "row" if numbers is None else "line"))


def _read_arrow(path: Path) -> Table:
    """Read Parquet or Arrow, with the names of classes where datasets or pandas stored them."""
    import pyarrow
    from datasets import Features
    from pyarrow import parquet

    try:
        if path.suffix.lower() == ".parquet":
            table = parquet.ParquetFile(path).read()
        else:
            table = _arrow_reader(pyarrow.py_buffer(path.read_bytes())).read_all()
        table.validate(full=True)  # an offset that a damaged file has wrong would be followed out of the memory
        names = _class_names(Features.from_arrow_schema(table.schema))
        return Table(str(path), table.column_names, table.to_pylist(), names)
    except Exception as error:  # pyarrow and datasets raise many kinds for a damaged file
        reason = (str(error).splitlines() or ["it is damaged"])[0]
        raise DataError(f"{path} cannot be read: {reason}; expected a whole {path.suffix.lower()} file") from error


def _arrow_reader(source: Any) -> Any:
    """Open the stream that datasets writes, or the file that others do."""
    import pyarrow

    try:
        return pyarrow.ipc.open_stream(source)
    except pyarrow.ArrowInvalid:
        return pyarrow.ipc.open_file(source)


def _without_empty(table: Table) -> Table:
    """Leave out records in which nothing stands, and say which."""
    is_empty = [all(map(is_missing, record.values())) for record in table.records]
    numbers = table.numbers or range(1, len(is_empty) + 1)
    if all(is_empty):
        raise empty(table.place)
    if not any(is_empty):
        return table
    left_out = [str(number) for number, is_out in zip(numbers, is_empty, strict=True) if is_out]
    what = table.counted if len(left_out) == 1 else f"{table.counted}s"
    more = f" and {len(left_out) - _SHOWN} more" if len(left_out) > _SHOWN else ""
    return replace(
        table,
        records=[record for record, is_out in zip(table.records, is_empty, strict=True) if not is_out],
        numbers=[number for number, is_out in zip(numbers, is_empty, strict=True) if not is_out],
        notes=(*table.notes, f"{table.place}: left out as empty: {what} {', '.join(left_out[:_SHOWN])}{more}"),
    )


def _saved_tables(folder: Path, splits: Collection[str]) -> Tables:
    """Read what datasets' save_to_disk wrote."""
    import datasets

    with quiet(datasets):
        try:
            saved = datasets.load_from_disk(str(folder))
        except Exception as error:  # datasets and pyarrow raise many kinds
            raise DataError(f"{folder} is a data set that datasets saved, and is damaged; save it again") from error
    return _of_datasets(str(folder), saved if isinstance(saved, dict) else {"train": saved}, splits)


def _hub_tables(name: str, splits: Collection[str]) -> Tables:
    import datasets

    with quiet(datasets):
        try:
            fetched = datasets.load_dataset(name, trust_remote_code=False)  # versions before 4 would ask
        except Exception as error:  # the hub's client raises many kinds, some of them bare
            raise DataError(f"{name} is not a folder here, and no data set could be fetched by that id") from error
    return _of_datasets(name, fetched, splits)


def _of_datasets(name: str, dataset: Mapping[str, Any], splits: Collection[str]) -> Tables:
    """Return the splits of a DatasetDict; the names of classes are their features'."""
    tables: dict[str, list[Table]] = {}
    names = {split: next((word for word in (split, *WORDS[split]) if word in dataset), None) for split in SPLITS}
    for split, own in names.items():
        if own is not None and split in splits:
            rows, place = dataset[own], f"{name}, {own}"
            if not len(rows):
                raise empty(place)
            table = Table(place, rows.column_names, rows.to_list(), _class_names(rows.features))
            tables[split] = [_without_empty(table)]
    left = [str(own) for own in dataset if own not in names.values()]
    return Tables(tables, (f"{name}: not read: {', '.join(left)}",) if left else ())


def _class_names(features: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the names of a column's classes, or, where a row has a list of them, of the list's."""
    inner = {column: getattr(feature, "feature", feature) for column, feature in features.items()}
    return {column: list(feature.names) for column, feature in inner.items() if hasattr(feature, "names")}
