"""Check that a regression is equally good on any scale of its labels.

Claim: STS-B as it is, times 1000 plus 2000, and minus 1e6 give every member of a palette the same mean absolute error,
Spearman and Pearson to 1 %, once answers are scaled back. Answers are those of `TextRegressor` on the published
validation pairs. The rival answers the mean of train to everything. Training is short, so scores are not the best.

Needs: stsb
Takes: about 15 minutes
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.shared import data_sets, output, training_runs
from benchmarks.shared.arguments import DataFolder, WorkFolder
from edgedistill.data.dataset import Split, TaskData
from edgedistill.distillation import mlfs
from edgedistill.distillation.models import resolve_model
from edgedistill.distillation.recipe import Recipe, StageRecipe
from edgedistill.exporters import write_palette
from edgedistill.palette import Palette, load
from edgedistill.runtime import TextRegressor
from edgedistill.tasks.metrics import correlations

SCALES = {"as it is": (1.0, 0.0), "times 1000 plus 2000": (1000.0, 2000.0), "minus 1e6": (1.0, -1e6)}
_Numbers = NDArray[np.float64]


def main(data_folder: DataFolder, work: WorkFolder) -> None:
    """Train, export and answer on each scale, and save the comparison."""
    known, data = data_sets.read(data_folder)
    labels = np.array(data.test.labels, dtype=np.float64)
    sets: dict[str, Any] = {}
    first: dict[str, _Numbers] = {}
    for name, (factor, offset) in SCALES.items():
        palette, steps = _palette(_scaled(data, factor, offset), known, work / name.replace(" ", "-"))
        answers = {member: (found - offset) / factor for member, found in _answers(palette, data).items()}
        first = first or answers
        sets[name] = {
            "factor": factor,
            "offset": offset,
            "steps": steps,
            "fp32_step": float(np.spacing(np.float32(abs(offset) + 5 * factor))) / factor,
            "members": {
                member: {**_scores(found, labels), "moved": float(np.abs(found - first[member]).mean())}
                for member, found in answers.items()
            },
        }
        output.log(f"{name}: {sets[name]}")
    constant = _scores(np.full(len(labels), np.mean(np.array(data.train.labels, dtype=np.float64))), labels)
    largest = _largest_difference(sets)
    output.save_result(
        f"regression-scales-{known.name}",
        {"data": known.name, "pairs": len(labels), "sets": sets, "mean_of_train": constant, "difference": largest},
    )


def _scaled(data: TaskData, factor: float, offset: float) -> TaskData:
    """Return the data with other labels, of another hash."""

    def split(one: Split) -> Split:
        labels = np.array(one.labels, dtype=np.float64) * factor + offset
        return Split(one.texts, tuple(labels.tolist()))

    digest = hashlib.sha256(f"{data.sha256} {factor} {offset}".encode()).hexdigest()
    return replace(
        data, train=split(data.train), validation=split(data.validation), test=split(data.test), sha256=digest
    )


def _palette(data: TaskData, known: data_sets.DataSet, folder: Path) -> tuple[Palette, list[int]]:
    """Return the largest, a middle and the smallest member in fp32 and int8, and the steps of each stage."""
    stages = {
        name: StageRecipe(epochs=0.01, min_steps=steps, learning_rate=1e-3, parameters="low-rank")
        for name, steps in (("teacher", 100), ("widths", 10), ("depths", 60))
    }
    shares = {"depth_shares": (1.0, 0.5), "head_shares": (1.0, 0.5), "ffn_shares": (1.0, 0.25)}
    recipe = Recipe.model_validate(Recipe().model_dump() | shares | {"precision": "fp32"} | stages)
    begun = mlfs.build_supernet(resolve_model(training_runs.MODEL), data, recipe)
    supernet = training_runs.train(begun, data, folder / "supernet")
    if not (folder / "palette" / "manifest.json").exists():
        space, rows = supernet.space, mlfs.encode_data(supernet, data)
        members = [space.maxnet, space.middle(supernet.model.arch), space.minnet]
        write_palette(supernet, members, rows, folder / "palette", output.log, precisions=("fp32", "int8"))
    output.log(f"{known.name}: exported to {folder}")
    return load(folder / "palette"), [score.steps for score in supernet.info.scores]


def _answers(palette: Palette, data: TaskData) -> dict[str, _Numbers]:
    """Return what each member answers to the published pairs."""
    pairs = [text for text in data.test.texts if isinstance(text, tuple)]
    found = {}
    for entry in palette.manifest.subnets:
        with TextRegressor(palette.folder, only=[entry.name]) as regressor:
            predictions = regressor.predict([(pair[0], pair[1]) for pair in pairs])
        found[entry.name] = np.array([prediction.value for prediction in predictions])
    return found


def _scores(found: _Numbers, labels: _Numbers) -> dict[str, float]:
    return {**correlations(found, labels), "mean_absolute_error": float(np.abs(found - labels).mean())}


def _largest_difference(sets: dict[str, Any]) -> float:
    """Return the largest relative difference of a member's score from that on the scale as it is."""
    first, *others = (found["members"] for found in sets.values())
    found = [
        abs(other[member][metric] / first[member][metric] - 1)
        for other in others
        for member in first
        for metric in ("mean_absolute_error", "spearman", "pearson")
    ]
    return float(max(found))
