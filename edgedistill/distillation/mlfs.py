"""Run MLFS from end to end: a pretrained model and data in, a trained supernet out.

Each stage has seeds of its own and starts from nothing but the supernet, and within a stage every step is a
function of the seed and its number: training that was interrupted anywhere goes on as if it had not.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from edgedistill.architecture import Subnet
from edgedistill.data.batches import Encoded
from edgedistill.data.dataset import TaskData
from edgedistill.data.tables import SPLITS
from edgedistill.distillation import resume
from edgedistill.distillation.evaluation import Score, evaluate
from edgedistill.distillation.loop import StageLoop, Watcher
from edgedistill.distillation.memory import keep_freed_memory
from edgedistill.distillation.ordering import put_in_order
from edgedistill.distillation.processes import as_the_first, shared
from edgedistill.distillation.recipe import Recipe
from edgedistill.distillation.resume import Position
from edgedistill.distillation.seeds import seed_of
from edgedistill.distillation.stages import FineTuning, Objective, SubnetTraining, feature_loss_for
from edgedistill.distillation.standardising import scaled_by_teacher
from edgedistill.distillation.supernet_build import build_supernet, recipe_for
from edgedistill.distillation.teacher import TeacherOutputs
from edgedistill.distillation.training_kinds import EncodedData, training_kind_of
from edgedistill.errors import DataError
from edgedistill.places import is_vacant
from edgedistill.supernet import checkpoint
from edgedistill.supernet.checkpoint import StageScore, Supernet
from edgedistill.tasks import task_of
from edgedistill.tasks.task import Task

__all__ = ["STAGES", "EncodedData", "build_supernet", "encode_data", "order", "recipe_for", "train"]

STAGES = (0, 1, 2)


def encode_data(supernet: Supernet, data: TaskData) -> EncodedData:
    """Tokenize every split by the supernet's settings.

    Raises:
        DataError: they are not those that the supernet was built for, row by row, or too few.
        ModelError: the tokenizer is not the model's.
    """
    info = supernet.info
    if data.task != info.task or data.sha256 != info.data.sha256:
        raise DataError(
            f"{data.source or data.unlabelled} is not what the supernet was begun with, or has changed since; "
            "give the same data by --data, or train again in another folder"
        )
    kind = training_kind_of(supernet.model.arch)
    encoded = (kind.encode(supernet, getattr(data, name), f"{data.source}, {name}") for name in SPLITS)
    return EncodedData(*encoded).scaled(info.label_scale)


def train(
    supernet: Supernet,
    data: TaskData,
    folder: Path,
    watcher: Watcher,
    *,
    announce: Callable[[str], None],
    accelerator: Accelerator,
    until: int = STAGES[-1],
    say: Callable[[str], None] = lambda _: None,
) -> Supernet:
    """Run what is not done yet up to stage ``until``.

    ``folder`` holds the supernet after each stage, and about each minute what to go on from.

    ``watcher`` is called after each step, ``announce`` before what takes a while between the stages, ``say`` with
    what is left out of the texts.

    Raises:
        CheckpointError: what it goes on from is damaged.
        DataError: the supernet was begun with other data, or a teacher's answers are all alike.
        TrainingError: a loss is not a number; what was saved before stays.
    """
    keep_freed_memory()
    encoded = encode_data(supernet, data)
    if encoded.train.truncated:
        say(
            f"{encoded.train.truncated:,} of {len(encoded.train):,} texts of train have more than "
            f"{supernet.info.max_tokens} tokens and are cut there; the recipe's max_tokens says how many are read"
        )
    supernet.model.to(accelerator.device)
    supernet = scaled_by_teacher(supernet, encoded.train, announce)
    run = _Run(encoded.scaled(supernet.info.label_scale), folder, watcher, announce, accelerator)
    if as_the_first(is_vacant(folder)):
        run.save(supernet)
    for stage in STAGES[len(supernet.info.scores) : until + 1]:
        if stage == 1 and not supernet.info.ordered:
            supernet = shared(order(supernet, run.data, announce))
            run.save(supernet)
        supernet = run.stage(supernet, stage)
        run.save(supernet)
    supernet.model.cpu()
    return supernet


def order(supernet: Supernet, data: EncodedData, announce: Callable[[str], None]) -> Supernet:
    """Return the supernet as stage 0 left it with what matters most first, and the layers of each depth named."""
    # A recipe that changed since stage 0 may need more.
    supernet = training_kind_of(supernet.model.arch).record(supernet, data, announce)
    announce("putting heads, neurons and layers in order of importance")
    recipe, task = Recipe.model_validate(supernet.info.recipe), task_of(supernet.info.task)
    rows, reference = _watched(supernet, data)
    space = put_in_order(supernet.model, rows, task, recipe, names=supernet.info.labels, reference=reference)
    return replace(supernet, space=space, info=supernet.info.model_copy(update={"ordered": True}))


def _watched(supernet: Supernet, data: EncodedData) -> tuple[Encoded, Tensor | None]:
    """Return some rows of validation, the same each time, and the teacher's outputs for those without labels."""
    rows, reference = data.validation, supernet.teacher.get("validation")
    watched = task_of(supernet.info.task).watched_rows
    if len(rows) <= watched:
        return rows, reference
    together = 2 if rows.labels is not None and task_of(supernet.info.task).embeds else 1  # pairs
    rng = random.Random(f"{supernet.info.seed}-watched")
    first = sorted(rng.sample(range(0, len(rows), together), watched // together))
    chosen = [row + place for row in first for place in range(together)]
    if reference is not None:
        reference = TeacherOutputs(reference, rows).rows(chosen)
    return rows.subset(chosen), reference


@dataclass(frozen=True)
class _Run:
    """The data, folder and callbacks that every stage needs."""

    data: EncodedData
    folder: Path
    watcher: Watcher
    announce: Callable[[str], None]
    accelerator: Accelerator

    def save(self, supernet: Supernet) -> None:
        """Save the supernet in the first process; the others wait."""
        if self.accelerator.is_main_process:
            checkpoint.save(supernet, self.folder)
        self.accelerator.wait_for_everyone()

    def stage(self, supernet: Supernet, stage: int) -> Supernet:
        """Return the supernet with one more stage done."""
        recipe = Recipe.model_validate(supernet.info.recipe)
        task = task_of(supernet.info.task)
        skipped = stage == 0 and recipe.fine_tuned
        position = Position(0, 0) if skipped else self._train(supernet, task, recipe, stage)
        if stage == 0:
            supernet = training_kind_of(supernet.model.arch).record(supernet, self.data, self.announce)
        self.announce("scoring the full model")
        scores = [self._score(supernet, task, supernet.space.maxnet, split) for split in ("validation", "test")]
        done = StageScore(
            stage=stage,
            metric=scores[1].metric,
            validation=scores[0].value,
            test=scores[1].value,
            curve=list(position.curve),
            steps=position.step,
            flops=position.flops,
            wall_s=round(position.wall_s, 1),
            metrics=scores[1].metrics,
        )
        return replace(supernet, info=supernet.info.after(done))

    def _train(self, supernet: Supernet, task: Task, recipe: Recipe, stage: int) -> Position:
        model = supernet.model
        objective, watched = self._plan(supernet, task, recipe, stage)
        generator = torch.Generator().manual_seed(seed_of(recipe.seed, "pairs", stage))
        model.begin_stage(recipe.pair_rank(stage), generator)
        if recipe.random_weights and stage == 0:
            model.train_tables()
        loop = StageLoop(model, self.data.train, objective, recipe, stage, self.accelerator)
        saved = resume.load_state(self.folder, stage)
        if saved is not None:
            loop.resume(*saved)

        rows, reference = _watched(supernet, self.data)

        def validate() -> dict[str, Score]:
            scored = partial(evaluate, model, data=rows, task=task, names=supernet.info.labels, reference=reference)
            return {name: scored(subnet) for name, subnet in watched.items()}

        def save() -> None:
            if self.accelerator.is_main_process:
                resume.save_state(self.folder, loop.position, loop.state())
            self.accelerator.wait_for_everyone()

        position = loop.run(self.watcher, validate, save)
        model.freeze()
        model.eval()
        return position

    def _plan(self, supernet: Supernet, task: Task, recipe: Recipe, stage: int) -> tuple[Objective, dict[str, Subnet]]:
        """Return what the stage trains, and the subnets whose scores are watched."""
        model, train = supernet.model, self.data.train
        if stage == 0:
            return FineTuning(task, recipe), {"maxnet": supernet.space.maxnet}
        space = supernet.space.at_full_depth() if stage == 1 else supernet.space
        frozen = recipe.teacher_source == "frozen" or train.labels is None  # else the maxnet teaches
        device = self.accelerator.device
        teacher = training_kind_of(model.arch).teacher(supernet, train, device) if frozen else None
        features = feature_loss_for(model, space, train, recipe)
        watched = {"maxnet": space.maxnet, "middle": space.middle(model.arch), "minnet": space.minnet}
        return SubnetTraining(task, space, recipe, features, teacher, stage), watched

    def _score(self, supernet: Supernet, task: Task, subnet: Subnet, split: str) -> Score:
        reference = supernet.teacher.get(split)
        names = supernet.info.labels
        return evaluate(supernet.model, subnet, getattr(self.data, split), task, names=names, reference=reference)
