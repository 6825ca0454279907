"""Measure what each choice of the recipe brings: one change at a time, every run at the same cost.

--share is the length of the runs as a share of the base recipe's. Choices are made on validation, and test is
reported. WORK keeps the runs: an interrupted experiment resumes.

Needs: clinc150, sst2 or stsb
Takes: about an hour with --share 0.2
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import typer

from benchmarks.shared import data_sets, output, training_runs
from benchmarks.shared.arguments import DataFolder, Share, WorkFolder
from edgedistill.architecture import Subnet
from edgedistill.data.dataset import TaskData
from edgedistill.distillation.evaluation import evaluate
from edgedistill.distillation.mlfs import encode_data
from edgedistill.distillation.recipe import Recipe, StageRecipe
from edgedistill.supernet import checkpoint
from edgedistill.supernet.checkpoint import Supernet
from edgedistill.tasks import task_of

PAPER: dict[str, Any] = {"teacher_source": "maxnet", "features": "projections", "maxnet": True, "random_subnets": 1}
PLAIN: dict[str, Any] = PAPER | {"rank": 8, "order": "prefix", "minnet": False, "random_subnets": 2}
# What the variants change, held here so that it stays when defaults move on.
BASE: dict[str, Any] = {
    "learning_rate": 1e-3,
    "parameters": "low-rank",
    "alternate": False,
    "temperature": 1.0,
    "gamma": 0.5,
    "ffn_shares": (1.0, 0.5, 0.25),
    "depth_shares": (1.0, 2 / 3, 1 / 3),
}
BASE_EPOCHS = {"widths": 2.0, "depths": 5.5}
MEAN_OF = ("1/2", "1/2.4", "1/3", "1/4", "1/6")  # in every variant's space
DEFAULTS = "the recipe's defaults"
VARIANTS: dict[str, dict[str, Any]] = {
    "base": {},
    DEFAULTS: {},
    "plain MLFS": PLAIN,
    "plain MLFS, learning rate doubled": PLAIN | {"learning_rate": 2e-3},
    "full parameters": {"parameters": "full", "learning_rate": 2e-4},
    "gamma 0": {"gamma": 0.0},
    "learning rate doubled": {"learning_rate": 2e-3},
    "rank 32": {"rank": 32},
    "three random, no minnet": {"minnet": False, "random_subnets": 3},
    "the maxnet trains in every step": {"maxnet": True, "random_subnets": 1},
    "the maxnet trains and teaches": PAPER | {"features": "none"},
    "the maxnet trains and teaches, projections": PAPER,
    "the maxnet trains and teaches, relations": PAPER | {"features": "relations", "beta": 1.0},
    "prefix order": {"order": "prefix"},
    "rank 8": {"rank": 8},
    "gamma 1": {"gamma": 1.0},
    "labels and teacher alike": {"alpha": 0.5},
    "no labels in the loss": {"alpha": 1.0},
    "minnet, one random": {"random_subnets": 1},
    "scale 2": {"scale": 2.0},
    "temperature 2": {"temperature": 2.0},
    "temperature 4": {"temperature": 4.0},
}


def changed(base: Recipe, changes: dict[str, Any]) -> Recipe:
    """Apply a variant's changes to the recipe; those of a stage apply to stages 1 and 2."""
    of_stages = {key: value for key, value in changes.items() if key in StageRecipe.model_fields}
    values = base.model_dump() | {key: value for key, value in changes.items() if key not in of_stages}
    return Recipe.model_validate(values | {stage: values[stage] | of_stages for stage in ("widths", "depths")})


def scores(supernet: Supernet, data: TaskData, sizes: dict[str, Subnet]) -> dict[str, dict[str, float]]:
    """Return by size, and of the maxnet, the score on validation and test and the loss on validation."""
    rows, task, names = encode_data(supernet, data), task_of(supernet.info.task), supernet.info.labels
    supernet.model.to(training_runs.DEVICE)
    found = {}
    for size, subnet in {"1/1": supernet.model.arch.full, **sizes}.items():
        validation, test = (
            evaluate(supernet.model, subnet, split, task, names=names) for split in (rows.validation, rows.test)
        )
        found[size] = {"validation": validation.value, "test": test.value, "loss": validation.loss}
    return found


def run(teacher: Path, data: TaskData, folder: Path, recipe: Recipe, flops: float) -> dict[str, Any]:
    """Train by a recipe for as many FLOPs, and score every size."""
    start = checkpoint.load(teacher)
    recipe = training_runs.at_cost(start, data, recipe, training_runs.space_of(start, recipe), flops)
    supernet = training_runs.train(training_runs.start(teacher, folder, recipe), data, folder)
    shutil.rmtree(folder)
    return {
        "flops": training_runs.own_flops(supernet),
        "steps": [score.steps for score in supernet.info.scores if score.stage],
        "wall_s": training_runs.wall_s(supernet),
        "sizes": scores(supernet, data, training_runs.reference_subnets(teacher)),
    }


def main(
    data_folder: DataFolder,
    work: WorkFolder,
    share: Share = 0.25,
    seed: Annotated[int, typer.Option(help="seed of every run")] = 0,
) -> None:
    """Train every missing run, and save the table."""
    known, data = data_sets.read(data_folder)
    defaults = training_runs.base_recipe(known, seed)
    base = changed(defaults, BASE)
    lengths = {stage: getattr(base, stage).model_copy(update={"epochs": of}) for stage, of in BASE_EPOCHS.items()}
    base = base.model_copy(update=lengths)
    start = checkpoint.load(training_runs.teacher(known, data, work))
    flops = share * training_runs.predicted_flops(start, data, base, training_runs.space_of(start, base))
    variants: dict[str, Any] = {}
    for name, changes in VARIANTS.items():
        recipe = defaults if name == DEFAULTS else changed(base, changes)
        key = f"ablation-{known.name}-{share:g}-{seed}-{name.replace(' ', '-')}"
        done = work / f"{key}.json"
        if not done.exists():
            teacher = training_runs.teacher(known, data, work, recipe.order)
            done.write_text(json.dumps({"changes": changes} | run(teacher, data, work / key, recipe, flops)))
        variants[name] = json.loads(done.read_text())
        sizes = [variants[name]["sizes"][size] for size in MEAN_OF]
        variants[name]["mean"] = {of: mean(size[of] for size in sizes) for of in ("validation", "test", "loss")}
        output.log(f"{name}: {variants[name]['mean']}")
        output.save_finding(
            f"ablation-{known.name}",
            {"data": known.name, "seed": seed, "share": share, "variants": variants},
        )
