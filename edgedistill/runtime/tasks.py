"""Check that a palette is for the task of the class that is to answer."""

from __future__ import annotations

from edgedistill.errors import PaletteError
from edgedistill.palette import Manifest
from edgedistill.tasks import TaskName, task_of

__all__ = ["check_task", "wrong_task"]


def check_task(manifest: Manifest, task: TaskName) -> None:
    """Refuse a palette for another task.

    Raises:
        PaletteError: it is for another task.
    """
    if manifest.task != task:
        raise wrong_task(manifest)


def wrong_task(manifest: Manifest) -> PaletteError:
    """Return the error for a palette that was given to a class of another task."""
    return PaletteError(f"the palette is for {manifest.task}: {task_of(manifest.task).answered_by[0]} answers it")
