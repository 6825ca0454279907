"""Measure whether the gradient scaling (n₁/n_j)^γ speeds up the smallest subnet (Figure 2 of arXiv 2404.01353).

It follows the minnet's validation loss through stage 2, for γ = 0, 0.5 and 1 from the same teacher and seeds. As in
the paper, the full model, the minnet and a random subnet train in every step, and the full model teaches: under AdamW
with and without clipping, and under plain SGD. One more run separates a better direction from a larger step: plain SGD
with γ = 0 and a learning rate larger by the minnet's factor at γ = 1.

Needs: clinc150, sst2 or stsb
Takes: about 2 hours
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.shared import data_sets, output, training_runs
from benchmarks.shared.arguments import DataFolder, Steps, WorkFolder
from edgedistill.data.batches import make_batch
from edgedistill.data.dataset import TaskData
from edgedistill.distillation.evaluation import evaluate
from edgedistill.distillation.loop import StepReport
from edgedistill.distillation.losses import NoFeatures
from edgedistill.distillation.mlfs import encode_data
from edgedistill.distillation.recipe import Recipe, StageRecipe
from edgedistill.distillation.scaling import gradient_scale, trained_parameters
from edgedistill.distillation.stages import SubnetTraining, Whole
from edgedistill.supernet import checkpoint
from edgedistill.supernet.checkpoint import Supernet
from edgedistill.tasks import task_of

PAPER: dict[str, Any] = {"teacher_source": "maxnet", "maxnet": True, "alternate": False, "random_subnets": 1}
GAMMAS = (0.0, 0.5, 1.0)
_NOTHING = StageRecipe(epochs=1e-9, min_steps=1, learning_rate=1e-12)
OPTIMIZERS: dict[str, tuple[dict[str, Any], float]] = {
    "AdamW, clipped": ({"optimizer": "adamw", "clip_norm": 1.0}, 1e-3),
    "AdamW": ({"optimizer": "adamw", "clip_norm": None}, 1e-3),
    "SGD": ({"optimizer": "sgd", "clip_norm": None}, 0.02),
    "SGD at 0.1": ({"optimizer": "sgd", "clip_norm": None}, 0.1),
}
_NORM_ROWS = 64
_WATCHED = 500  # rows of validation
_POINTS = 16  # of a curve


def gradient_norms(supernet: Supernet, data: TaskData) -> dict[str, float]:
    """Return the norm of each subnet's own gradient on some training rows, before any scaling."""
    recipe, task = Recipe.model_validate(supernet.info.recipe), task_of(data.task)
    device = next(supernet.model.parameters()).device
    batch = make_batch(encode_data(supernet, data).train, range(_NORM_ROWS)).to(device)
    objective = SubnetTraining(task, supernet.space, recipe, NoFeatures(), None, stage=2)
    norms: dict[str, float] = {}
    for part in objective.parts(supernet.model, batch, Whole(_NORM_ROWS, int(batch.attention_mask.sum())), 1):
        part.loss.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in supernet.model.parameters() if p.grad is not None]
        norms[part.name] = round(float(torch.nn.utils.get_total_norm(gradients)), 4)
        supernet.model.zero_grad()
    return norms


def curve(teacher: Path, data: TaskData, folder: Path, recipe: Recipe) -> dict[str, Any]:
    """Return the losses of the minnet and the maxnet through stage 2, and their scores at its end."""
    begun = training_runs.start(teacher, folder, recipe)
    rows, task, names = encode_data(begun, data).validation, task_of(data.task), begun.info.labels
    some = rows.subset(range(0, len(rows), max(1, len(rows) // _WATCHED)))
    space = begun.space
    points: dict[str, list[float]] = {"step": [], "minnet": [], "maxnet": []}
    every = max(1, recipe.depths.min_steps // _POINTS)
    norms: dict[int, dict[str, float]] = {}

    def watching(supernet: Supernet) -> Callable[[StepReport], None]:
        def watch(report: StepReport) -> None:
            if report.stage == 2 and (report.step == 1 or report.step % every == 0):
                points["step"].append(report.step)
                for name, subnet in (("minnet", space.minnet), ("maxnet", space.maxnet)):
                    loss = evaluate(supernet.model, subnet, some, task, names=names).loss
                    points[name].append(round(loss, 5))
            if report.stage == 2 and report.step in (1, report.steps // 4, report.steps):
                norms[report.step] = gradient_norms(supernet, data)

        return watch

    supernet = training_runs.train(begun, data, folder, watching=watching)
    ends = {
        name: evaluate(supernet.model, subnet, rows, task, names=names)
        for name, subnet in (("minnet", space.minnet), ("maxnet", space.maxnet))
    }
    shutil.rmtree(folder)
    return {
        "curve": points,
        "gradient_norms": norms,
        "loss": {name: score.loss for name, score in ends.items()},
        "score": {name: score.value for name, score in ends.items()},
    }


def main(data_folder: DataFolder, work: WorkFolder, steps: Steps = 400) -> None:
    """Train every missing run, and save the curves."""
    known, data = data_sets.read(data_folder)
    teacher = training_runs.teacher(known, data, work)
    start = checkpoint.load(teacher)
    space = training_runs.space_of(start, Recipe())
    most, least = (
        trained_parameters(start.model.arch, subnet, Recipe().rank).total for subnet in (space.maxnet, space.minnet)
    )
    factor = gradient_scale(most, least, 1.0)
    runs = {
        f"{name}, gamma {gamma:g}": settings | {"gamma": gamma, "rate": rate}
        for name, (settings, rate) in OPTIMIZERS.items()
        for gamma in GAMMAS
    }
    settings, rate = OPTIMIZERS["SGD"]
    runs[f"SGD, gamma 0, learning rate times {factor:.1f}"] = settings | {"gamma": 0.0, "rate": rate * factor}
    found = {}
    for name, values in runs.items():
        key = f"gamma-{known.name}-{steps}-{name.replace(' ', '-')}"
        done = work / f"{key}.json"
        if not done.exists():
            stage = StageRecipe(epochs=1e-9, min_steps=steps, learning_rate=values["rate"], parameters="low-rank")
            changes = {k: v for k, v in values.items() if k != "rate"} | {"widths": _NOTHING, "depths": stage}
            recipe = Recipe.model_validate(training_runs.base_recipe(known).model_dump() | PAPER | changes)
            done.write_text(json.dumps(curve(teacher, data, work / key, recipe)))
        found[name] = json.loads(done.read_text())
        output.log(f"{name}: {found[name]['loss']} {found[name]['score']}")
    output.save_finding(
        f"gradient-scaling-{known.name}",
        {
            "data": known.name,
            "seed": 0,
            "steps": steps,
            "trained_parameters": {"maxnet": most, "minnet": least},
            "factor_at_gamma_1": factor,
            "runs": found,
        },
    )
