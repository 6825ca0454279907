"""Train the runs that benchmarks share: one teacher for each data set, and what starts from it.

A run is a folder under the work folder; what is there is not done again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.shared import data_sets, output
from edgedistill.architecture import SearchSpace, Subnet
from edgedistill.data.batches import epoch_batches
from edgedistill.data.dataset import TaskData
from edgedistill.distillation import mlfs
from edgedistill.distillation.accelerator import accelerator_for, has_bf16
from edgedistill.distillation.cost import forward_flops
from edgedistill.distillation.evaluation import outputs_of
from edgedistill.distillation.loop import StepReport
from edgedistill.distillation.losses import NoFeatures
from edgedistill.distillation.models import resolve_model
from edgedistill.distillation.recipe import Recipe
from edgedistill.distillation.stages import SubnetTraining
from edgedistill.errors import EdgeDistillError
from edgedistill.supernet import checkpoint
from edgedistill.supernet.checkpoint import Supernet
from edgedistill.tasks import task_of

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# Of every run, teachers' and students' alike; quality is measured in fp32. Models as small as these wait for a GPU's
# kernels to start rather than to end, so that bf16 would only add some.
PRECISION: Literal["bf16", "fp32"] = "bf16" if has_bf16() and DEVICE == "cpu" else "fp32"
MACHINE = {"precision": PRECISION, "device": DEVICE}  # for results


# The reference sizes: (depth, heads, FFN width), by falling share of MiniLM's layer parameters.
SIZES = {
    "1/2": (6, 6, 768),
    "1/2.4": (6, 3, 768),
    "1/3": (4, 6, 768),
    "1/4": (6, 3, 384),
    "1/6": (4, 3, 384),
    "1/9": (4, 3, 192),
}
HIDDEN = (1.0, 0.5)  # kept shares of the hidden width, where it varies
_EVERY_DEPTH = tuple(depth / 6 for depth in range(6, 0, -1))


def watcher(title: str) -> Callable[[StepReport], None]:
    """Say validation scores as they come."""

    def watch(report: StepReport) -> None:
        if report.scored:
            scores = ", ".join(f"{name} {score.value:.4f}" for name, score in report.scored.items())
            output.log(f"{title}: stage {report.stage} step {report.step}/{report.steps}: {scores}")

    return watch


def train(
    supernet: Supernet,
    data: TaskData,
    folder: Path,
    *,
    until: int = 2,
    watching: Callable[[Supernet], Callable[[StepReport], None]] | None = None,
) -> Supernet:
    """Train to the end of a stage, or take what is there; goes on where an interrupted run was.

    ``watching`` makes a watcher for the supernet that trains; without it validation scores are said.
    """
    if (folder / "supernet.json").exists():
        supernet = checkpoint.load(folder)
    return mlfs.train(
        supernet,
        data,
        folder,
        watching(supernet) if watching else watcher(folder.name),
        announce=lambda title: output.log(f"{folder.name}: {title}"),
        accelerator=accelerator_for(Recipe(precision=PRECISION)),
        until=until,
    )


def base_recipe(known: data_sets.DataSet, seed: int = 0) -> Recipe:
    """Return the defaults, with the data set's teacher."""
    return Recipe(seed=seed, teacher=known.teacher, precision=PRECISION)


def teacher_name(known: data_sets.DataSet, order: str = "importance", seed: int = 0, hidden: bool = False) -> str:
    """Return the name of a teacher's folder."""
    return f"{known.name}-{order}-{seed}{'-hidden' if hidden else ''}"


def palette_name(teacher: str, share: float) -> str:
    """Return the name of the folder in which `separate-distillation` trains a palette."""
    return f"{teacher}-palette-{share:g}"


def trained_palette(known: data_sets.DataSet, work: Path, share: float) -> Path:
    """Return the folder of the palette that `separate-distillation` trained."""
    folder = work / palette_name(teacher_name(known), share)
    if not (folder / "supernet.json").exists():
        command = f"python -m benchmarks run separate-distillation {known.name} {work} --share {share:g}"
        raise EdgeDistillError(f"{folder} is not a trained palette; run `{command}` first")
    return folder


def teacher(
    known: data_sets.DataSet, data: TaskData, work: Path, order: str = "importance", seed: int = 0, hidden: bool = False
) -> Path:
    """Train the teacher: stage 0, its pairs merged, put in order, every depth named. Return its folder.

    The same for every run on this data set, order and seed; ``hidden`` puts the hidden width in order too.
    """
    folder = work / teacher_name(known, order, seed, hidden)
    if (folder / "supernet.json").exists():
        return folder
    changes = {"order": order, "depth_shares": _EVERY_DEPTH, "hidden_shares": HIDDEN if hidden else (1.0,)}
    recipe = Recipe.model_validate(base_recipe(known, seed).model_dump() | changes)
    begun = mlfs.build_supernet(resolve_model(MODEL), data, recipe.model_copy(update={"order": "importance"}))
    supernet = train(begun, data, work / f"{known.name}-teacher-{seed}", until=0)
    supernet.model.begin_stage(None, torch.Generator())
    supernet.model.freeze()
    info = supernet.info.model_copy(update={"recipe": recipe.model_dump(mode="json")})
    supernet = replace(supernet, info=info)
    supernet = mlfs.order(supernet, mlfs.encode_data(supernet, data), output.log)
    checkpoint.save(supernet, folder)
    return folder


def space_of(supernet: Supernet, recipe: Recipe) -> SearchSpace:
    """Return the recipe's space over a teacher that has every depth named."""
    arch, layers = supernet.model.arch, {len(kept): kept for kept in supernet.space.layers}
    depths = tuple(layers[depth] for depth in recipe.depth(arch))
    return SearchSpace(depths, recipe.hidden(arch), recipe.heads(arch), recipe.ffn(arch))


def alone(subnet: Subnet) -> SearchSpace:
    """Return a space of one uniform subnet: a student that is distilled for itself."""
    first = subnet.layers[0]
    return SearchSpace((subnet.kept,), (subnet.hidden,), (first.heads,), (first.ffn,))


def reference_subnets(teacher_folder: Path) -> dict[str, Subnet]:
    """Return the six sizes as subnets, with the teacher's own layers for each depth."""
    supernet = checkpoint.load(teacher_folder)
    layers = {len(kept): kept for kept in supernet.space.layers}
    hidden = supernet.model.arch.hidden
    return {
        size: Subnet.uniform(layers[depth], hidden=hidden, heads=heads, ffn=ffn)
        for size, (depth, heads, ffn) in SIZES.items()
    }


def start(teacher_folder: Path, folder: Path, recipe: Recipe, space: SearchSpace | None = None) -> Supernet:
    """Copy the teacher to ``folder``, to train by this recipe in this space, unless the folder is there."""
    if not (folder / "supernet.json").exists():
        supernet = checkpoint.load(teacher_folder)
        names = ("rank", "scale", "seed")
        settings = {"recipe": recipe.model_dump(mode="json")} | {name: getattr(recipe, name) for name in names}
        info = supernet.info.model_copy(update=settings)
        checkpoint.save(replace(supernet, info=info, space=space or space_of(supernet, recipe)), folder)
    return checkpoint.load(folder)


def own_flops(supernet: Supernet) -> int:
    """Training FLOPs of stages 1 and 2, without the teacher's pass over the training data."""
    return sum(score.flops for score in supernet.info.scores if score.stage > 0)


def wall_s(supernet: Supernet) -> float:
    """Seconds of stages 1 and 2."""
    return round(sum(score.wall_s for score in supernet.info.scores if score.stage > 0), 1)


def teacher_flops(supernet: Supernet, data: TaskData) -> int:
    """Return the FLOPs of one pass of the frozen teacher over the training data."""
    arch = supernet.model.arch
    return sum(forward_flops(arch, arch.full, rows=1, tokens=tokens) for tokens in _lengths(supernet, data))


def _lengths(supernet: Supernet, data: TaskData) -> list[int]:
    return [len(ids) for ids in mlfs.encode_data(supernet, data).train.ids]


def predicted_flops(supernet: Supernet, data: TaskData, recipe: Recipe, space: SearchSpace) -> float:
    """FLOPs of stages 1 and 2 by a recipe, from the subnets that it would draw."""
    lengths = _lengths(supernet, data)
    batches = epoch_batches(lengths, recipe.batch_size, "cost")
    tokens = round(sum(max(lengths[row] for row in batch) for batch in batches) / len(batches))
    total = 0.0
    for stage, plan in ((1, recipe.widths), (2, recipe.depths)):
        here = space.at_full_depth() if stage == 1 else space
        objective = SubnetTraining(task_of(supernet.info.task), here, recipe, NoFeatures(), None, stage)
        steps = plan.epochs * len(lengths) / recipe.batch_size
        mean = sum(objective.flops(supernet.model, recipe.batch_size, tokens, step) for step in range(300)) / 300
        total += steps * mean
    return total


def at_cost(supernet: Supernet, data: TaskData, recipe: Recipe, space: SearchSpace, flops: float) -> Recipe:
    """Return the recipe with stages 1 and 2 as long as this many FLOPs allow."""
    factor = flops / predicted_flops(supernet, data, recipe, space)
    longer = {
        name: plan.model_copy(update={"epochs": plan.epochs * factor, "min_steps": 1})
        for name, plan in (("widths", recipe.widths), ("depths", recipe.depths))
    }
    return recipe.model_copy(update=longer)


def answers(supernet: Supernet, subnet: Subnet, data: TaskData, split: str = "test") -> NDArray[np.float32]:
    """Return the subnet's outputs [units, c] on a split, computed on a GPU where there is one."""
    rows = getattr(mlfs.encode_data(supernet, data), split)
    model = supernet.model.to(DEVICE)
    found = outputs_of(model, subnet, rows)
    model.cpu()
    return np.asarray(found, dtype=np.float32)
