"""Measure whether a narrower hidden width is worth having, and where it should start.

At the same training FLOPs it compares the recipe's own space; that space with half of the hidden width too, its
features in their given order; and the same with the features in order of importance before anything is sliced.
Rotating the residual stream, as is done for models with RMSNorm, would change what these models compute: their
LayerNorms centre and scale each feature by itself.

Needs: clinc150, sst2 or stsb
Takes: about 40 minutes
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.shared import data_sets, output, quality_scores, training_runs
from benchmarks.shared.arguments import DataFolder, Share, WorkFolder
from edgedistill.architecture import Subnet
from edgedistill.data.dataset import TaskData
from edgedistill.distillation.recipe import Recipe
from edgedistill.supernet import checkpoint

_NARROWED = ("1/2", "1/4", "1/9")  # sizes that are also taken with half of the hidden width


def sizes_of(teacher: Path) -> dict[str, Subnet]:
    """Members of all the spaces, then those that are narrow."""
    sizes = {"1/1": checkpoint.load(teacher).model.arch.full, **training_runs.reference_subnets(teacher)}
    narrow = {f"{size}, half hidden": replace(sizes[size], hidden=sizes[size].hidden // 2) for size in _NARROWED}
    return sizes | narrow


def run(teacher: Path, data: TaskData, folder: Path, recipe: Recipe, flops: float) -> dict[str, Any]:
    """Train for as many FLOPs; what each size of the space scores on test."""
    start = checkpoint.load(teacher)
    space = training_runs.space_of(start, recipe)
    recipe = training_runs.at_cost(start, data, recipe, space, flops)
    supernet = training_runs.train(training_runs.start(teacher, folder, recipe), data, folder)
    shutil.rmtree(folder)
    sizes = {size: subnet for size, subnet in sizes_of(teacher).items() if subnet.hidden in space.hidden}
    arch = supernet.model.arch
    whole = arch.layer_parameters(arch.full), arch.total_parameters(arch.full)
    return {
        "flops": training_runs.own_flops(supernet),
        "steps": [score.steps for score in supernet.info.scores if score.stage],
        "scores": {
            size: quality_scores.whole(data, training_runs.answers(supernet, subnet, data))
            for size, subnet in sizes.items()
        },
        "layer_share": {size: arch.layer_parameters(subnet) / whole[0] for size, subnet in sizes.items()},
        "total_share": {size: arch.total_parameters(subnet) / whole[1] for size, subnet in sizes.items()},
    }


def main(data_folder: DataFolder, work: WorkFolder, share: Share = 0.25) -> None:
    """Train each missing space, and save the comparison."""
    known, data = data_sets.read(data_folder)
    defaults = training_runs.base_recipe(known)
    varied = defaults.model_copy(update={"hidden_shares": training_runs.HIDDEN})
    plain, ordered = training_runs.teacher(known, data, work), training_runs.teacher(known, data, work, hidden=True)
    start = checkpoint.load(plain)
    flops = share * training_runs.predicted_flops(start, data, defaults, training_runs.space_of(start, defaults))
    spaces = {
        "whole hidden width alone": (plain, defaults),
        "half too, as given": (plain, varied),
        "half too, by importance": (ordered, varied),
    }
    found = {}
    for name, (teacher, recipe) in spaces.items():
        done = work / f"hidden-{known.name}-{share:g}-{name.replace(' ', '-')}.json"
        if not done.exists():
            done.write_text(json.dumps(run(teacher, data, done.with_suffix(""), recipe, flops)))
        found[name] = json.loads(done.read_text())
        output.log(f"{name}: {found[name]['scores']}")
    output.save_finding(f"hidden-width-{known.name}", {"data": known.name, "seed": 0, "share": share, "spaces": found})
