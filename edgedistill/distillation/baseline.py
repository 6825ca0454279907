"""Score a linear model over word counts on a task's data."""

from __future__ import annotations

from edgedistill.data.dataset import TaskData
from edgedistill.errors import DataError
from edgedistill.tasks import task_of

__all__ = ["word_count_score"]


def word_count_score(data: TaskData) -> float:
    """Return the task's headline metric on test, of a linear model over TF-IDF of words and of characters.

    Raises:
        DataError: labels to learn from, or to be scored by, are missing.
    """
    task = task_of(data.task)
    if data.test.labels is None or not (data.labelled or not task.learns_from_labels):
        raise DataError("word counts need labels, to learn from and to be scored by; give labelled data")
    train, test = ((split.texts, split.labels or ()) for split in (data.train, data.test))
    return task.word_count_score(train, test, data.label_names)
