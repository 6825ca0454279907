"""Check that a palette of more members costs no more, and that its members are as good.

Claim: at the same training FLOPs, spaces of 6, 24 and 96 members share six subnets (1/1 to 1/6 of the layer
parameters). Their quality falls by at most 0.5 points in the mean. WORK keeps the runs: an interrupted benchmark
resumes.

Needs: clinc150, sst2 or stsb
Takes: about 40 minutes with --share 0.5
"""

from __future__ import annotations

import json
import shutil
from typing import Any

import numpy as np

from benchmarks.shared import data_sets, output, quality_scores, training_runs
from benchmarks.shared.arguments import DataFolder, Share, WorkFolder
from edgedistill.distillation.recipe import Recipe
from edgedistill.supernet import checkpoint

SPACES: dict[int, dict[str, Any]] = {
    6: {"depth_shares": (1.0, 2 / 3, 1 / 3), "head_shares": (1.0,), "ffn_shares": (1.0, 0.25)},
    24: {"depth_shares": (1.0, 2 / 3, 1 / 3), "head_shares": (1.0, 0.5), "ffn_shares": (1.0, 0.5, 0.25, 0.125)},
    96: {
        "depth_shares": tuple(depth / 6 for depth in range(6, 0, -1)),
        "head_shares": (1.0, 0.75, 0.5, 0.25),
        "ffn_shares": (1.0, 0.5, 0.25, 0.125),
    },
}


def main(data_folder: DataFolder, work: WorkFolder, share: Share = 0.5) -> None:
    """Train each missing space, and save the comparison."""
    known, data = data_sets.read(data_folder)
    teacher = training_runs.teacher(known, data, work)
    start = checkpoint.load(teacher)
    base = training_runs.base_recipe(known)
    flops = share * training_runs.predicted_flops(start, data, base, training_runs.space_of(start, base))
    few = training_runs.space_of(start, Recipe.model_validate(base.model_dump() | SPACES[6]))
    found: dict[int, Any] = {}
    outputs = {}
    for members, shares in SPACES.items():
        recipe = Recipe.model_validate(base.model_dump() | shares)
        space = training_runs.space_of(start, recipe)
        assert len(space) == members
        assert set(few) <= set(space)
        folder = work / f"constant-{known.name}-{share:g}-{members}"
        kept = work / f"{folder.name}.npz"  # a share of 0.3 is no suffix
        if not kept.exists():
            recipe = training_runs.at_cost(start, data, recipe, space, flops)
            supernet = training_runs.train(training_runs.start(teacher, folder, recipe), data, folder)
            figures = {
                "flops": training_runs.own_flops(supernet),
                "steps": [score.steps for score in supernet.info.scores if score.stage],
                "wall_s": training_runs.wall_s(supernet),
            }
            answers = {subnet.name: training_runs.answers(supernet, subnet, data) for subnet in few}
            np.savez(kept, allow_pickle=False, figures=np.array(json.dumps(figures)), **answers)
            shutil.rmtree(folder)
        with np.load(kept) as stored:
            outputs[members] = [stored[subnet.name] for subnet in few]
            found[members] = json.loads(str(stored["figures"]))
        found[members]["scores"] = {
            subnet.name: quality_scores.whole(data, answer)
            for subnet, answer in zip(few, outputs[members], strict=True)
        }
        _, mean = quality_scores.differences(data, list(zip(outputs[members], outputs[6], strict=True)))
        found[members]["mean_difference_from_6"] = mean.as_list()
        output.log(f"{members} members: {found[members]}")
    output.save_result(f"constant-cost-{known.name}", {"data": known.name, "seed": 0, "share": share, "spaces": found})
