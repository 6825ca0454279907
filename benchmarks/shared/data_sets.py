"""Read the public data sets of the training benchmarks by name, cut to a feasible size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgedistill.data.dataset import Split, TaskData
from edgedistill.data.readers import load_data
from edgedistill.distillation.recipe import StageRecipe
from edgedistill.errors import EdgeDistillError
from edgedistill.tasks import TaskName

_SUBSET = {"sst2": 20_000}  # training sentences, the same ones for every run


_MORE_TESTS = {"sst2": 10_000}  # of the others: the published ones are too few to tell half a point


@dataclass(frozen=True)
class DataSet:
    """A task on public data, and the teacher's recipe: long enough for its plateau."""

    name: str
    task: TaskName
    text_columns: tuple[str, ...]
    teacher: StageRecipe


def _teacher(epochs: float, learning_rate: float) -> StageRecipe:
    return StageRecipe(epochs=epochs, learning_rate=learning_rate, parameters="low-rank")


DATA_SETS = {
    data.name: data
    for data in (
        DataSet("clinc150", "text-classification", ("text",), _teacher(epochs=4, learning_rate=1e-3)),
        DataSet("sst2", "text-classification", ("text",), _teacher(epochs=3, learning_rate=5e-4)),
        DataSet("stsb", "text-regression", ("sentence1", "sentence2"), _teacher(epochs=6, learning_rate=1e-3)),
    )
}


def read(folder: Path) -> tuple[DataSet, TaskData]:
    """Read a data set by its folder's name, cut down where a full run would be too long.

    Where what is published to test on is little, training texts that are not in the subset come after it.
    """
    known = DATA_SETS.get(folder.name)
    if known is None:
        raise EdgeDistillError(
            f"{folder} is not a data set of the benchmarks; expected a folder named {', '.join(DATA_SETS)}"
        )
    data = load_data(folder, known.task, text_columns=known.text_columns)
    most = _SUBSET.get(folder.name)
    if most is None or len(data.train.texts) <= most:
        return known, data
    assert data.train.labels is not None
    rows = np.random.default_rng(0).permutation(len(data.train.texts))
    others = _chosen(data.train, rows[most : most + _MORE_TESTS[known.name]])
    assert data.test.labels is not None
    assert others.labels is not None
    test = Split(data.test.texts + others.texts, data.test.labels + others.labels)
    return known, replace(data, train=_chosen(data.train, rows[:most]), test=test)


def _chosen(split: Split, rows: NDArray[np.intp]) -> Split:
    assert split.labels is not None
    return Split(tuple(split.texts[row] for row in rows), tuple(split.labels[row] for row in rows))


def published_tests(data: TaskData) -> int:
    """Return how many of the test texts are the published ones, which come first."""
    return len(data.test.texts) - _MORE_TESTS.get(Path(str(data.source)).name, 0)
