"""Texts and labels: where they are, and how they are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.errors import InputError
from edgedistill.tasks import TASKS, TaskName
from edgedistill.workflows.progress import ProgressCallback, silent, work

if TYPE_CHECKING:
    from edgedistill.data.dataset import TaskData
    from edgedistill.supernet.checkpoint import Supernet

__all__ = ["DEFAULT_TASK", "DEMO", "LabelledSource", "read_data", "recorded_source"]

DEMO = "demo"  # names the data that the package brings
DEFAULT_TASK: TaskName = next(iter(TASKS))


@dataclass(frozen=True, kw_only=True)
class LabelledSource:
    """The places of texts and labels, and what they are for.

    Attributes:
        task: what the model is for.
        data: a folder, a file, a hub id, or ``demo``.
        unlabelled: a file of texts without labels, one a line.
        text_columns: one, or two for pairs.
        label_column: None for texts without labels.
        label_names: the labels in the order that a model has already; None for their own order.
        is_recorded: ``data`` is what a supernet recorded, so that ``demo`` never means a folder of that name.
    """

    task: TaskName
    data: str | Path | None
    unlabelled: str | Path | None = None
    text_columns: tuple[str, ...] = ("text",)
    label_column: str | None = "label"
    label_names: tuple[str, ...] | None = None
    is_recorded: bool = False


def read_data(source: LabelledSource, progress: ProgressCallback = silent) -> TaskData:
    """Read the user's data, or generate the demo's commands.

    Raises:
        InputError: no data are named, or the demo's commands are not for this task.
        DataError: the data cannot be read.
    """
    from edgedistill.data.readers import load_data, load_unlabelled
    from edgedistill.demo.commands import generate

    columns, label = source.text_columns, source.label_column
    if source.unlabelled is not None:
        return load_unlabelled(
            Path(source.unlabelled),
            source.task,
            evaluation=source.data,
            label_names=source.label_names,
            text_columns=columns,
            label_column=label,
        )
    if source.data is None:
        raise InputError("no data: give --data, a folder with train, validation and test, or --unlabelled, a file")
    if str(source.data) == DEMO and (source.is_recorded or not Path(source.data).exists()):
        if source.task != DEFAULT_TASK:
            raise InputError(f"the demo's commands are for {DEFAULT_TASK}; give a folder with data for {source.task}")
        return generate()
    with work(progress, f"reading {source.data}"):
        return load_data(
            source.data, source.task, text_columns=columns, label_column=label, label_names=source.label_names
        )


def recorded_source(
    supernet: Supernet, data: str | Path | None = None, unlabelled: str | Path | None = None
) -> LabelledSource:
    """Return where the supernet's data are: where they were, or ``data`` and ``unlabelled`` if they moved.

    Raises:
        InputError: they are not where they were.
    """
    was = supernet.info.data
    place = None if unlabelled is not None else _still_there(was.unlabelled, "--unlabelled")
    return LabelledSource(
        task=supernet.info.task,
        data=data or _still_there(was.data, "--data"),
        unlabelled=unlabelled if place is None else place,
        text_columns=was.text_columns,
        label_column=was.label_column,
        label_names=tuple(supernet.info.labels),
        is_recorded=data is None,
    )


def _still_there(recorded: str | None, option: str) -> str | None:
    """Return a recorded place; refuse a path that is gone, and name the option that says where it is now."""
    from edgedistill.data.tables import local_path

    path = None if recorded in (None, DEMO) else local_path(str(recorded))
    if path is not None and not path.exists():
        raise InputError(f"the supernet was trained on {path}, which is not there; say where it is now by {option}")
    return recorded
