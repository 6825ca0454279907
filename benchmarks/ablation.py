"""What each choice of the recipe brings: one change at a time from the defaults, every run at the same cost.

Usage: python benchmarks/ablation.py DATA WORK [SHARE] [SEED]. DATA is a folder named as one of lab.py's data
sets, WORK keeps the runs, so that an interrupted benchmark goes on; SHARE (default 0.25) is the length of the
runs as a part of the default recipe's. The choices are made on validation; test is reported.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from statistics import mean
from typing import Any

import lab

from edgedistill.distillation.data import TaskData
from edgedistill.distillation.evaluation import evaluate
from edgedistill.distillation.mlfs import encode_data
from edgedistill.distillation.recipe import Recipe, StageRecipe
from edgedistill.distillation.tasks import task_of
from edgedistill.subnet import SubnetConfig
from edgedistill.supernet import checkpoint
from edgedistill.supernet.checkpoint import Supernet

DEFAULTS = "the defaults"
_PAIRS: dict[str, Any] = {"parameters": "low-rank", "learning_rate": 1e-3}
_SUMMED: dict[str, Any] = {"in_turn": False}
_MAXNET = _SUMMED | {"maxnet": True, "random_subnets": 1}
_TEACHES = _MAXNET | {"teach": "maxnet"}
_PAPER = _TEACHES | {"features": "projections"}
_PLAIN = (
    _PAPER
    | _PAIRS
    | {"rank": 8, "order": "prefix", "minnet": False, "random_subnets": 2, "temperature": 1.0, "gamma": 0.5}
)
VARIANTS: dict[str, dict[str, Any]] = {
    DEFAULTS: {},
    "plain MLFS": _PLAIN,
    "low-rank pairs": _PAIRS,
    "gradients summed": _SUMMED,
    "prefix order": {"order": "prefix"},
    "gamma 0": {"gamma": 0.0},
    "three random, no minnet": {"minnet": False, "random_subnets": 3},
    "the maxnet trains and teaches": _TEACHES,
    "the maxnet trains and teaches, projections": _PAPER,
    "the maxnet trains and teaches, relations": _PAPER | {"features": "relations", "beta": 1.0},
    "labels alone": {"alpha": 0.0},
    "no labels in the loss": {"alpha": 1.0},
    "temperature 1": {"temperature": 1.0},
    "no stage 1": {"widths": StageRecipe(epochs=1e-9, least_steps=1, learning_rate=2e-4).model_dump()},
    "learning rate doubled": {"learning_rate": 4e-4},
    "plain MLFS, learning rate doubled": _PLAIN | {"learning_rate": 2e-3},
    "low-rank pairs of rank 32": _PAIRS | {"rank": 32},
    "the maxnet trains in every step": _MAXNET,
    "gamma 0.5": {"gamma": 0.5},
    "learning rate halved": {"learning_rate": 1e-4},
    "labels and teacher alike": {"alpha": 0.5},
    "temperature 4": {"temperature": 4.0},
}


def changed(base: Recipe, changes: dict[str, Any]) -> Recipe:
    """The recipe with a variant's changes; what belongs to a stage is that of stages 1 and 2."""
    of_stages = {key: value for key, value in changes.items() if key in StageRecipe.model_fields}
    values = base.model_dump() | {key: value for key, value in changes.items() if key not in of_stages}
    return Recipe.model_validate(values | {stage: values[stage] | of_stages for stage in ("widths", "depths")})


def scores(supernet: Supernet, data: TaskData, sizes: dict[str, SubnetConfig]) -> dict[str, dict[str, float]]:
    """By size, and of the maxnet: the score on validation and test, the loss on validation."""
    rows, task, names = encode_data(supernet, data), task_of(supernet.info.task), supernet.info.labels
    supernet.model.to(lab.DEVICE)
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
    recipe = lab.at_cost(start, data, recipe, lab.space_of(start, recipe), flops)
    supernet = lab.train(lab.start(teacher, folder, recipe), data, folder)
    shutil.rmtree(folder)
    return {
        "flops": lab.own_flops(supernet),
        "steps": [score.steps for score in supernet.info.scores if score.stage],
        "wall_s": lab.wall_s(supernet),
        "sizes": scores(supernet, data, lab.reference_subnets(teacher)),
    }


def main(data_folder: str, work_folder: str, share: str = "0.25", seed: str = "0") -> None:
    """Run what is not done yet; keep the table."""
    known, data = lab.read(Path(data_folder))
    work = Path(work_folder)
    base = lab.base_recipe(known, int(seed))
    start = checkpoint.load(lab.teacher(known, data, work))
    flops = float(share) * lab.predicted_flops(start, data, base, lab.space_of(start, base))
    variants: dict[str, Any] = {}
    for name, changes in VARIANTS.items():
        recipe = changed(base, changes)
        key = f"ablation-{known.name}-{share}-{seed}-{name.replace(' ', '-')}"
        done = work / f"{key}.json"
        if not done.exists():
            teacher = lab.teacher(known, data, work, recipe.order)
            done.write_text(json.dumps({"changes": changes} | run(teacher, data, work / key, recipe, flops)))
        variants[name] = json.loads(done.read_text())
        sizes = [variants[name]["sizes"][size] for size in lab.SIZES]
        variants[name]["mean"] = {of: mean(size[of] for size in sizes) for of in ("validation", "test", "loss")}
        lab.say(f"{name}: {variants[name]['mean']}")
        lab.keep(
            f"ablation-{known.name}",
            {"data": known.name, "seed": int(seed), "share": float(share), **lab.MACHINE, "variants": variants},
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
