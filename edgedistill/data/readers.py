"""A user's texts and labels: train, validation and test, for every task, checked row by row.

Sentence embeddings learn from texts alone: train is every distinct text of its rows. Validation and test are
texts without labels, or, where there are two text columns and a number as the label (as in STS), pairs with
their scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgedistill.data.data_files import kind_of, suffix_of
from edgedistill.data.dataset import Columns, Split, TaskData, classes_in, split_of
from edgedistill.data.rows import Row, rows_of
from edgedistill.data.running_text import read_running_text
from edgedistill.data.splits import complete, cut_missing
from edgedistill.data.tables import SPLITS, Table, Tables, local_path, read_tables
from edgedistill.data.text_files import read_lines
from edgedistill.errors import DataError
from edgedistill.tasks import TaskName, task_of
from edgedistill.tasks.fields import RawLabel
from edgedistill.tasks.labels import without_fractions
from edgedistill.tasks.task import Task

__all__ = ["load_data", "load_texts", "load_unlabelled"]


def load_data(
    source: str | Path,
    task: TaskName,
    *,
    text_columns: Sequence[str] = ("text",),
    label_column: str | None = "label",
    label_names: Sequence[str] | None = None,
) -> TaskData:
    """Read a folder with train, validation and test, one file of rows, or a hub data set.

    Files are CSV, JSON, Parquet or Arrow: docs/data.md lists their names and kinds. For text-generation they may be
    text files: see `read_running_text`.

    Without test, validation is the test split and 5 % of train becomes validation; with train alone, a tenth
    of it becomes each. Words and their tags are lists, or strings with blanks in between.

    Args:
        source: the folder or the hub id.
        task: what the labels are.
        text_columns: one; two for pairs.
        label_column: may be missing for embeddings.
        label_names: the classes in the order that a model has them; None to number them here.

    Raises:
        DataError: a file, column, text or label is missing or cannot be used.
    """
    kind = task_of(task)
    columns = _checked(Columns(tuple(text_columns), label_column), kind)
    place = _absolute(source)
    if kind.is_own_label:
        rows, notes = read_running_text(str(source), columns.text[0])
        return TaskData.from_rows(rows, place, task, columns, notes=notes)
    tables = read_tables(str(source))
    splits, notes = _all_rows(tables, task, columns, label_names)
    if kind.learns_from_labels:
        _check_labels_differ(splits["train"], str(source))
    rows, cut = complete(splits, str(source), stratified=kind.stratified)
    if kind.embeds:
        rows, repeated = _as_texts(rows, splits, str(source))
        cut += repeated
    return TaskData.from_rows(rows, place, task, columns, label_names, notes=[*notes, *cut])


def load_unlabelled(
    texts: Path,
    task: TaskName,
    *,
    evaluation: str | Path | None = None,
    label_names: Sequence[str] | None = None,
    text_columns: Sequence[str] = ("text",),
    label_column: str | None = "label",
) -> TaskData:
    """Read training texts without labels, one a line: of pairs with a tab, of words with blanks in between.

    Validation and test are the labelled ones of ``evaluation``, a folder or hub data set, and where it has
    only validation that is the test split. What is missing then is cut from the texts, 5 % of them each.

    Args:
        texts: the file.
        task: what the teacher knows.
        evaluation: its train split is not read.
        label_names: the classes in the order that the teacher has them.
        text_columns: of ``evaluation``; two mean that each line of ``texts`` is a pair.
        label_column: of ``evaluation``.

    Raises:
        DataError: a file, column, text or label is missing or cannot be used.
    """
    kind = task_of(task)
    columns = _checked(Columns(tuple(text_columns), label_column), kind)
    if kind.is_own_label:
        raise DataError("text-generation learns from text itself; give the texts by --data, and --fine-tuned if so")
    if label_names is None and kind.has_classes:
        raise DataError(f"{texts} has no labels, and the model names none; give one that is fine-tuned for {task}")
    labelled: dict[str, list[Row]] = {}
    notes: list[str] = []
    if evaluation is not None:
        tables = read_tables(str(evaluation), needed=SPLITS[1:], splits=SPLITS[1:])
        labelled, notes = _all_rows(tables, task, columns, label_names)
        if "test" not in labelled:
            notes.append(f"{evaluation}: validation is reported on as test")
            labelled = {"test": labelled["validation"]}
    pair = len(columns.text) == 2 and not kind.embeds
    rows, cut = cut_missing(_lines(texts, kind, pair=pair), labelled, str(texts))
    if kind.embeds:
        rows, repeated = _as_texts(rows, labelled, str(texts))
        cut += repeated
    source, place = None if evaluation is None else _absolute(evaluation), _absolute(texts)
    return TaskData.from_rows(rows, source, task, columns, label_names or (), place, [*notes, *cut])


def load_texts(texts: Path, task: TaskName, *, pair: bool) -> Split:
    """Read texts without labels, one a line, of pairs with a tab in between.

    Raises:
        DataError: the file cannot be read, is empty, or a line is not a text or pair.
    """
    kind = task_of(task)
    return split_of(_lines(texts, kind, pair=pair), kind, {}, 0)


def _checked(columns: Columns, task: Task) -> Columns:
    if task.is_own_label:
        columns = Columns(columns.text, None)
    if not 1 <= len(columns.text) <= task.max_texts:
        expected = "one" if task.max_texts == 1 else "one, or two for pairs"
        raise DataError(f"{task.name} was given {len(columns.text)} text columns; expected {expected}")
    if len({*columns.text, columns.label}) <= len(columns.text):
        raise DataError(f"the columns {', '.join(map(str, (*columns.text, columns.label)))} are not all different")
    return columns


def _absolute(source: str | Path) -> str:
    """Return what finds the data again from any other directory: an absolute path, or the hub id as it is."""
    path = local_path(str(source))
    return str(source) if path is None else str(path.absolute())


def _all_rows(
    tables: Tables, task: TaskName, columns: Columns, label_names: Sequence[str] | None
) -> tuple[dict[str, list[Row]], list[str]]:
    """Return the rows of every split that was read, and what there is to say of them."""
    rows = {
        split: [row for table in parts for row in _rows(table, task, columns)] for split, parts in tables.splits.items()
    }
    notes = [*tables.notes, *(note for parts in tables.splits.values() for table in parts for note in table.notes)]
    classes = {name for split in rows.values() for name in classes_in(split)}
    if task_of(task).has_classes and not classes & set(label_names or ()):
        whole = without_fractions(classes)
        rows = {split: [(text, _renamed(label, whole)) for text, label in own] for split, own in rows.items()}
    return rows, notes


def _renamed(label: RawLabel | None, names: Mapping[str, str]) -> RawLabel | None:
    if isinstance(label, str):
        return names.get(label, label)
    return tuple(names.get(tag, tag) for tag in label) if isinstance(label, tuple) else label


def _rows(table: Table, task: TaskName, columns: Columns) -> list[Row]:
    label = columns.label
    if task_of(task).embeds:
        return rows_of(table, task, columns.text, label if _has_scores(table, columns) else None)
    if label is None:
        raise DataError(f"{table.place} needs labels for {task}; name their column")
    return rows_of(table, task, columns.text, label)


def _has_scores(table: Table, columns: Columns) -> bool:
    """Return whether the rows are pairs with numbers, as the first row shows."""
    try:
        float(table.records[0][columns.label or ""])
    except (KeyError, TypeError, ValueError):
        return False
    return len(columns.text) == 2


def _lines(texts: Path, task: Task, *, pair: bool) -> list[Row]:
    if kind_of(texts) not in (None, "text") and suffix_of(texts) != ".tsv":
        raise DataError(f"{texts} is a table by its name; expected plain text, one text a line, for example texts.txt")
    rows: list[Row] = []
    for number, line in read_lines(texts):
        parts = line.split("\t") if pair else [line]
        if pair and (len(parts) != 2 or not all(part.strip() for part in parts)):
            raise DataError(f"{texts}, line {number} is not a pair; expected two texts with one tab in between")
        words = tuple(line.split()) if task.by_words else tuple(parts)
        rows.append((words if pair or task.by_words else line, None))
    return rows


def _check_labels_differ(rows: Sequence[Row], source: str) -> None:
    labels = classes_in(rows) or {str(label) for _, label in rows}
    if len(labels) < 2:
        raise DataError(f"{source}: every row of train has the label {labels.pop()!r}; expected at least two labels")


def _as_texts(
    rows: dict[str, list[Row]], uncut: dict[str, list[Row]], place: str
) -> tuple[dict[str, list[Row]], list[str]]:
    """Return train as distinct texts, none of them in a split that was cut from it; say how many that leaves out."""
    evaluation = {name: rows[name] if _labelled(rows[name]) else _distinct(rows[name]) for name in SPLITS[1:]}
    cut = [row for name in SPLITS[1:] if all(rows[name] is not own for own in uncut.values()) for row in rows[name]]
    held = set(_distinct(cut))
    distinct = _distinct(rows["train"])
    train = [row for row in distinct if row not in held]
    if not train:
        raise DataError(f"{place}: every text of train is in validation or test too; give more texts")
    every = sum(len(text) if isinstance(text, tuple) else 1 for text, _ in rows["train"])
    repeated, both = every - len(distinct), len(distinct) - len(train)
    left_out = [f"{repeated:,} that are there before"] * bool(repeated)
    left_out += [f"{both:,} that are in validation or test"] * bool(both)
    notes = [f"{place}: of {every:,} texts of train {' and '.join(left_out)} are left out"] if left_out else []
    return {"train": train} | evaluation, notes


def _labelled(rows: Sequence[Row]) -> bool:
    return all(label is not None for _, label in rows)


def _distinct(rows: Sequence[Row]) -> list[Row]:
    """Return every single text once, without a label."""
    texts = (part for text, _ in rows for part in (text if isinstance(text, tuple) else (text,)))
    return [(text, None) for text in dict.fromkeys(texts)]
