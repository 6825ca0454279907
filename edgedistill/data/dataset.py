"""The data of a task: train, validation and test, with the classes numbered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edgedistill.data.data_files import SPLITS
from edgedistill.data.rows import Row
from edgedistill.errors import DataError
from edgedistill.tasks import TaskName, task_of
from edgedistill.tasks.fields import Text
from edgedistill.tasks.labels import name_classes
from edgedistill.tasks.task import Task

__all__ = ["Columns", "Label", "Split", "TaskData", "classes_in", "split_of"]

Label = int | float | tuple[int, ...]
"""A class, a number, a class for each word, or a 1 for each class that a row has and a 0 for the others."""


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
        """Return whether train has labels; running text is its own."""
        return self.train.labels is not None or task_of(self.task).is_own_label

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
        """Make the data of rows; classes are numbered as in ``label_names``, or else as train has them alphabetically.

        Where words are labelled, or texts have several labels, those that only validation or test has come after
        train's: rare ones are natural there, cannot be learnt, and count as errors.

        Raises:
            DataError: a class that ``label_names``, or train, does not have.
        """
        names = _names(rows, source or unlabelled, task, label_names)
        index, kind = name_classes(names), task_of(task)
        train, validation, test = (split_of(rows[name], kind, index, len(names)) for name in SPLITS)
        digest = hashlib.sha256(json.dumps([rows[name] for name in SPLITS]).encode()).hexdigest()
        return cls(task, train, validation, test, names, source, columns, digest, unlabelled, tuple(notes))


def classes_in(rows: Iterable[Row]) -> set[str]:
    """Return the classes of rows or words."""
    classes: set[str] = set()
    for _, label in rows:
        if isinstance(label, str):
            classes.add(label)
        elif isinstance(label, tuple):
            classes.update(label)
    return classes


def _names(
    rows: Mapping[str, Sequence[Row]], place: str | None, task: TaskName, label_names: Sequence[str] | None
) -> tuple[str, ...]:
    kind = task_of(task)
    if not kind.has_classes:
        return ()
    names = tuple(sorted(classes_in(rows["train"]))) if label_names is None else tuple(label_names)
    for split in SPLITS:
        unseen = sorted(classes_in(rows[split]) - name_classes(names).keys())
        if unseen and label_names is None and kind.adds_rare_labels:
            names += tuple(unseen)
        elif unseen:
            owner = "train has not" if label_names is None else f"the model has not; it has {', '.join(names[:5])}"
            more = ", …" if label_names is not None and len(names) > 5 else ""
            raise DataError(f"{place}: {split} has the label {unseen[0]!r}, which {owner}{more}")
    return names


def split_of(rows: Sequence[Row], task: Task, index: Mapping[str, int], classes: int) -> Split:
    """Return a split of these rows, with each of a number of classes as its place in ``index``."""
    labels = tuple(task.numbered(label, index, classes) for _, label in rows if label is not None)
    return Split(tuple(text for text, _ in rows), labels or None)
