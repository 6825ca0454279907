"""A user's texts and labels: train, validation and test, for every task, checked row by row.

Sentence embeddings learn from texts alone: train is every distinct text of its rows. Validation and test are
texts without labels, or, where there are two text columns and a number as the label (as in STS), pairs with
their scores.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgedistill.distillation.data_files import kind_of, suffix_of
from edgedistill.distillation.labels import name_classes, without_fractions
from edgedistill.distillation.rows import RawLabel, Row, Text, rows_of
from edgedistill.distillation.running_text import read_running_text
from edgedistill.distillation.splits import complete, cut_missing
from edgedistill.distillation.tables import SPLITS, Table, Tables, local_path, read_tables
from edgedistill.distillation.text_files import read_lines
from edgedistill.errors import DataError
from edgedistill.subnet import TaskName

__all__ = ["Columns", "Label", "Split", "TaskData", "load_data", "load_texts", "load_unlabelled"]


Label = int | float | tuple[int, ...]
"""A class, a number, or a class for each word."""
_WITH_CLASSES: tuple[TaskName, ...] = ("text-classification", "token-classification")


@dataclass(frozen=True)
class Columns:
    """The names of one text column, or of a pair's two, and of the label's where there is one."""

    text: tuple[str, ...] = ("text",)
    label: str | None = "label"


_DEFAULT_COLUMNS = Columns()


@dataclass(frozen=True)
class Split:
    """Texts (strings, pairs, or the words of each), and for each its label where there are labels."""

    texts: tuple[Text, ...]
    labels: tuple[Label, ...] | None


@dataclass(frozen=True)
class TaskData:
    """Texts for one task.

    Attributes:
        task: what the labels are.
        train: what is learnt from; without labels where a teacher alone says what is right.
        validation: what choices are made by.
        test: what is reported on.
        label_names: of the classes, in the order of their numbers; empty where labels are numbers.
        source: the folder's absolute path or the hub id; None where there are only texts without labels.
        columns: as they were read.
        sha256: over every row of every split, in order.
        unlabelled: the absolute path of the file of training texts without labels, where they are from one.
        notes: lines that say which files were chosen, and what was cut from train or left out.
    """

    task: TaskName
    train: Split
    validation: Split
    test: Split
    label_names: tuple[str, ...]
    source: str | None
    columns: Columns
    sha256: str
    unlabelled: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def labelled(self) -> bool:
        """Whether train has labels; running text is its own."""
        return self.train.labels is not None or self.task == "text-generation"

    @classmethod
    def from_rows(
        cls,
        rows: Mapping[str, Sequence[Row]],
        source: str | None,
        task: TaskName = "text-classification",
        columns: Columns = _DEFAULT_COLUMNS,
        label_names: Sequence[str] | None = None,
        unlabelled: str | None = None,
        notes: Sequence[str] = (),
    ) -> TaskData:
        """Number the classes: as ``label_names`` has them, or else those of train in alphabetical order.

        Where words are labelled, tags that only validation or test has come after train's: rare ones are
        natural there, cannot be learnt, and count as errors.

        Raises:
            DataError: a class that ``label_names``, or train, does not have.
        """
        names = _names(rows, source or unlabelled, task, label_names)
        index = name_classes(names)
        train, validation, test = (_split(rows[name], index) for name in SPLITS)
        digest = hashlib.sha256(json.dumps([rows[name] for name in SPLITS]).encode()).hexdigest()
        return cls(task, train, validation, test, names, source, columns, digest, unlabelled, tuple(notes))


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
    columns = _checked(Columns(tuple(text_columns), label_column), task)
    place = _absolute(source)
    if task == "text-generation":
        rows, notes = read_running_text(str(source), columns.text[0])
        return TaskData.from_rows(rows, place, task, columns, notes=notes)
    tables = read_tables(str(source))
    given, notes = _all_rows(tables, task, columns, label_names)
    if task != "sentence-embedding":
        _check_labels_differ(given["train"], str(source))
    rows, cut = complete(given, str(source), stratified=task == "text-classification")
    if task == "sentence-embedding":
        rows, repeated = _as_texts(rows, given, str(source))
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
    columns = _checked(Columns(tuple(text_columns), label_column), task)
    if task == "text-generation":
        raise DataError("text-generation learns from text itself; give the texts by --data, and --fine-tuned if so")
    if label_names is None and task in _WITH_CLASSES:
        raise DataError(f"{texts} has no labels, and the model names none; give one that is fine-tuned for {task}")
    given: dict[str, list[Row]] = {}
    notes: list[str] = []
    if evaluation is not None:
        tables = read_tables(str(evaluation), needed=SPLITS[1:], splits=SPLITS[1:])
        given, notes = _all_rows(tables, task, columns, label_names)
        if "test" not in given:
            notes.append(f"{evaluation}: validation is reported on as test")
            given = {"test": given["validation"]}
    pair = len(columns.text) == 2 and task != "sentence-embedding"
    rows, cut = cut_missing(_lines(texts, task, pair=pair), given, str(texts))
    if task == "sentence-embedding":
        rows, repeated = _as_texts(rows, given, str(texts))
        cut += repeated
    source, place = None if evaluation is None else _absolute(evaluation), _absolute(texts)
    return TaskData.from_rows(rows, source, task, columns, label_names or (), place, [*notes, *cut])


def load_texts(texts: Path, task: TaskName, *, pair: bool) -> Split:
    """Read texts without labels, one a line, of pairs with a tab in between.

    Raises:
        DataError: the file cannot be read, is empty, or a line is no text or pair.
    """
    return _split(_lines(texts, task, pair=pair), {})


def _checked(columns: Columns, task: TaskName) -> Columns:
    most = 1 if task in ("token-classification", "text-generation") else 2
    if task == "text-generation":
        columns = Columns(columns.text, None)
    if not 1 <= len(columns.text) <= most:
        expected = "one" if most == 1 else "one, or two for pairs"
        raise DataError(f"{task} was given {len(columns.text)} text columns; expected {expected}")
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
    classes = {name for split in rows.values() for name in _classes(split)}
    if task in _WITH_CLASSES and not classes & set(label_names or ()):
        whole = without_fractions(classes)
        rows = {split: [(text, _renamed(label, whole)) for text, label in own] for split, own in rows.items()}
    return rows, notes


def _renamed(label: RawLabel | None, names: Mapping[str, str]) -> RawLabel | None:
    if isinstance(label, str):
        return names.get(label, label)
    return tuple(names.get(tag, tag) for tag in label) if isinstance(label, tuple) else label


def _rows(table: Table, task: TaskName, columns: Columns) -> list[Row]:
    label = columns.label
    if task == "sentence-embedding":
        return rows_of(table, task, columns.text, label if _has_scores(table, columns) else None)
    if label is None:
        raise DataError(f"{table.place} needs labels for {task}; name their column")
    return rows_of(table, task, columns.text, label)


def _has_scores(table: Table, columns: Columns) -> bool:
    """Whether the rows are pairs with numbers, as the first one tells."""
    try:
        float(table.records[0][columns.label or ""])
    except (KeyError, TypeError, ValueError):
        return False
    return len(columns.text) == 2


def _lines(texts: Path, task: TaskName, *, pair: bool) -> list[Row]:
    if kind_of(texts) not in (None, "text") and suffix_of(texts) != ".tsv":
        raise DataError(f"{texts} is a table by its name; expected plain text, one text a line, for example texts.txt")
    rows: list[Row] = []
    for number, line in read_lines(texts):
        parts = line.split("\t") if pair else [line]
        if pair and (len(parts) != 2 or not all(part.strip() for part in parts)):
            raise DataError(f"{texts}, line {number} is not a pair; expected two texts with one tab in between")
        words = tuple(line.split()) if task == "token-classification" else tuple(parts)
        rows.append((words if pair or task == "token-classification" else line, None))
    return rows


def _classes(rows: Iterable[Row]) -> set[str]:
    """Return the classes of rows or words."""
    classes: set[str] = set()
    for _, label in rows:
        if isinstance(label, str):
            classes.add(label)
        elif isinstance(label, tuple):
            classes.update(label)
    return classes


def _names(
    rows: Mapping[str, Sequence[Row]], place: str | None, task: TaskName, given: Sequence[str] | None
) -> tuple[str, ...]:
    if task not in _WITH_CLASSES:
        return ()
    known = tuple(sorted(_classes(rows["train"]))) if given is None else tuple(given)
    for split in SPLITS:
        unseen = sorted(_classes(rows[split]) - name_classes(known).keys())
        if unseen and given is None and task == "token-classification":
            known += tuple(unseen)
        elif unseen:
            owner = "train has not" if given is None else f"the model has not; it has {', '.join(known[:5])}"
            more = ", …" if given is not None and len(known) > 5 else ""
            raise DataError(f"{place}: {split} has the label {unseen[0]!r}, which {owner}{more}")
    return known


def _split(rows: Sequence[Row], index: Mapping[str, int]) -> Split:
    labels = tuple(_numbered(label, index) for _, label in rows if label is not None)
    return Split(tuple(text for text, _ in rows), labels or None)


def _numbered(label: RawLabel, index: Mapping[str, int]) -> Label:
    if isinstance(label, str):
        return index[label]
    return tuple(index[tag] for tag in label) if isinstance(label, tuple) else label


def _check_labels_differ(rows: Sequence[Row], source: str) -> None:
    labels = _classes(rows) or {str(label) for _, label in rows}
    if len(labels) < 2:
        raise DataError(f"{source}: every row of train has the label {labels.pop()!r}; expected at least two labels")


def _as_texts(
    rows: dict[str, list[Row]], given: dict[str, list[Row]], place: str
) -> tuple[dict[str, list[Row]], list[str]]:
    """Return train as distinct texts, none of them in a split that was cut from it; say how many that leaves out."""
    kept = {name: rows[name] if _labelled(rows[name]) else _distinct(rows[name]) for name in SPLITS[1:]}
    cut = [row for name in SPLITS[1:] if all(rows[name] is not own for own in given.values()) for row in rows[name]]
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
    return {"train": train} | kept, notes


def _labelled(rows: Sequence[Row]) -> bool:
    return all(label is not None for _, label in rows)


def _distinct(rows: Sequence[Row]) -> list[Row]:
    """Every single text once, without a label."""
    texts = (part for text, _ in rows for part in (text if isinstance(text, tuple) else (text,)))
    return [(text, None) for text in dict.fromkeys(texts)]
