"""Which class answers which task."""

from __future__ import annotations

from edgedistill.errors import PaletteError
from edgedistill.manifest import Manifest
from edgedistill.subnet import TaskName

__all__ = ["check_task", "wrong_task"]

_CLASSES: dict[TaskName, str] = {
    "text-classification": "TextClassifier",
    "text-regression": "TextRegressor",
    "token-classification": "TokenClassifier",
    "sentence-embedding": "SentenceEncoder",
    "text-generation": "TextGenerator",
}


def check_task(manifest: Manifest, task: TaskName) -> None:
    """Refuse a palette for anything else.

    Raises:
        PaletteError: it is for another task.
    """
    if manifest.task != task:
        raise wrong_task(manifest)


def wrong_task(manifest: Manifest) -> PaletteError:
    """What tells whoever gave the palette to a class of another task."""
    return PaletteError(f"the palette is for {manifest.task}: {_CLASSES[manifest.task]} answers it")
