"""Every task by its name: one line each. A task's module is imported when the task is first used."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from edgedistill.tasks.task import Task

__all__ = ["TASKS", "TaskName", "task_of"]

TASKS: Final = {
    "text-classification": "text_classification",
    "multi-label-classification": "multi_label_classification",
    "text-regression": "text_regression",
    "token-classification": "token_classification",
    "sentence-embedding": "sentence_embedding",
    "text-generation": "text_generation",
}
"""Name → the module in this package whose ``TASK`` it is."""

if TYPE_CHECKING:
    TaskName = str
else:
    TaskName = Literal[tuple(TASKS)]


@cache
def task_of(name: TaskName) -> Task:
    """Return the task of that name."""
    task: Task = import_module(f"edgedistill.tasks.{TASKS[name]}").TASK
    return task
