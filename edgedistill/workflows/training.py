"""Train a supernet: a pretrained model and data in, a supernet's folder out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from edgedistill.errors import CheckpointError, InputError
from edgedistill.places import is_vacant, lock, recover
from edgedistill.tasks import TASKS, TaskName, task_of
from edgedistill.workflows.progress import ProgressCallback, Work, note, silent, work
from edgedistill.workflows.task_data import DEFAULT_TASK, LabelledSource, read_data
from edgedistill.workflows.training_side import needs_training_side

if TYPE_CHECKING:
    from edgedistill.architecture import Architecture
    from edgedistill.data.dataset import TaskData
    from edgedistill.distillation.loop import StepReport
    from edgedistill.distillation.models import ResolvedModel
    from edgedistill.distillation.recipe import Recipe
    from edgedistill.distillation.scaling import TrainedParameters
    from edgedistill.supernet.checkpoint import StageScore, Supernet

__all__ = ["TrainResult", "train", "train_supernet"]

_TITLES = (
    "stage 0: the teacher learns the task",
    "stage 1: subnets of every width",
    "stage 2: subnets of every width and depth",
)


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """A trained supernet.

    Attributes:
        supernet: its folder.
        stages: the full model's score after each stage, and what the stage cost.
        subnets: how many there are to choose from.
        layer_parameters: parameters of the full model's layers.
        total_parameters: all parameters of the full model.
        trained_parameters: what each stage trained.
    """

    supernet: Path
    stages: Sequence[StageScore]
    subnets: int
    layer_parameters: int
    total_parameters: int
    trained_parameters: Sequence[TrainedParameters]


@needs_training_side
def train(
    model: str | Path,
    *,
    output: str | Path,
    data: str | Path | None = None,
    unlabelled: str | Path | None = None,
    task: TaskName = DEFAULT_TASK,
    text_columns: Sequence[str] = ("text",),
    label_column: str | None = "label",
    recipe: Recipe | Mapping[str, Any] | str | Path | None = None,
    progress: ProgressCallback = silent,
) -> TrainResult:
    """Train a supernet: every subnet of one pretrained model, together.

    The same call continues an interrupted run, and ends with the same weights.

    Args:
        model: a folder with a pretrained encoder or decoder, or a hub id.
        output: the folder to write the supernet to.
        data: a folder with train, validation and test, one file, a hub id, or ``demo``.
        unlabelled: a file of texts, one a line; the model, which is fine-tuned already, is the teacher.
        task: what the model is for.
        text_columns: the column that holds the text; two for pairs.
        label_column: the column that holds the label.
        recipe: every setting; or a TOML file of settings, or the settings that differ from the task's defaults, as
            in ``{"rank": 8, "depths": {"epochs": 2}}``.
        progress: receives each `ProgressEvent`, in this thread.

    Raises:
        InputError: the model, the data or the recipe cannot be used, or another process writes to ``output``.
        CheckpointError: ``output`` holds a supernet of another model or of other settings, or a damaged one.
        TrainingError: a loss is not a finite number.
    """
    from edgedistill.distillation.models import resolve_model
    from edgedistill.supernet.pretrained import teacher_labels

    if task not in TASKS:
        raise InputError(f"task: got {task!r}, expected one of {', '.join(TASKS)}")
    chosen = _recipe(recipe, task)
    base = resolve_model(model)
    if unlabelled is not None:
        chosen = chosen.model_copy(update={"fine_tuned": True})
    is_teacher = chosen.fine_tuned and not task_of(task).generates
    names = teacher_labels(base.folder, task, base.name) if is_teacher else None
    source = LabelledSource(
        task=task,
        data=data,
        unlabelled=unlabelled,
        text_columns=tuple(text_columns),
        label_column=label_column,
        label_names=None if names is None else tuple(names),
    )
    rows = read_data(source, progress)
    return _result(train_supernet(base, rows, Path(output), chosen, progress), Path(output))


def _recipe(recipe: Recipe | Mapping[str, Any] | str | Path | None, task: TaskName) -> Recipe:
    """Return the whole recipe."""
    from edgedistill.distillation.recipe import Recipe, read_recipe

    if isinstance(recipe, Recipe):
        return recipe
    if isinstance(recipe, str | Path):
        return read_recipe(Path(recipe), {}, task=task)
    return read_recipe(None, recipe or {}, task=task)


def train_supernet(
    source: ResolvedModel, data: TaskData, output: Path, chosen: Recipe, progress: ProgressCallback = silent
) -> Supernet:
    """Build a supernet at ``output``, or continue with the one there, stage by stage.

    Of several processes the first alone reports its progress.

    Raises:
        InputError: the recipe does not suit the model, or another process writes to ``output``.
        CheckpointError: ``output`` holds a supernet of another model or of other settings, or a damaged one.
        TrainingError: a loss is not a finite number.
    """
    with work(progress, "loading the training side"):
        from edgedistill.distillation import mlfs
        from edgedistill.distillation.accelerator import accelerator_for
        from edgedistill.distillation.processes import as_the_first, is_first

    chosen = mlfs.recipe_for(chosen, data)
    accelerator = accelerator_for(chosen)
    if not is_first():
        progress = silent
    for line in data.notes:
        note(progress, line)
    with lock(output) if is_first() else nullcontext():
        exists = as_the_first(is_first() and _is_begun(output))
        supernet = (
            _continue(output, source.sha256, chosen, progress) if exists else mlfs.build_supernet(source, data, chosen)
        )
        accelerator.wait_for_everyone()  # the first may replace what others still read
        _note_counts(supernet.model.arch, chosen, progress)
        with _StageReporter(progress) as reporter:
            return mlfs.train(
                supernet,
                data,
                output,
                reporter.step,
                announce=reporter.announce,
                accelerator=accelerator,
                say=lambda line: note(progress, line),
            )


def _is_begun(output: Path) -> bool:
    """Return whether there is a supernet to continue; what a killed process left next to its place is put back."""
    recover(output)
    return not is_vacant(output)


def _continue(output: Path, base_sha256: str, chosen: Recipe, progress: ProgressCallback) -> Supernet:
    """Load the supernet that is there.

    Raises:
        CheckpointError: it is damaged, or was begun from another model or with other settings.
    """
    from edgedistill.distillation.recipe import Recipe
    from edgedistill.supernet import checkpoint

    supernet = checkpoint.load(output)
    settings = Recipe.model_validate(supernet.info.recipe).model_dump(mode="json")
    if supernet.info.base_sha256 != base_sha256 or settings != chosen.model_dump(mode="json"):
        raise CheckpointError(
            f"{output} was begun from another model or with other settings; repeat those, or give another folder"
        )
    note(progress, f"going on with {output}: {len(supernet.info.stages)} of {len(_TITLES)} stages are done")
    return supernet


class _StageReporter:
    """Report each stage as a piece of work, and what takes a while in between."""

    def __init__(self, progress: ProgressCallback) -> None:
        self._progress = progress
        self._work: Work | None = None
        self._stage: int | None = None
        self._losses: dict[str, float] = {}  # the latest of each: a step may train one subnet alone

    def __enter__(self) -> _StageReporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()
        elif self._work is not None:
            self._work.fail()

    def announce(self, title: str) -> None:
        """Report what happens between the stages."""
        self._finish()
        self._work = Work(self._progress, title)

    def step(self, report: StepReport) -> None:
        """Report a step of a stage."""
        if self._work is None or self._stage != report.stage:
            self._finish()
            self._work = Work(self._progress, _TITLES[report.stage], report.steps)
            self._stage = report.stage
            self._losses.clear()
        self._losses |= report.losses
        self._work.move(report.step, report.steps, losses=dict(self._losses), scores=report.scored)
        if report.ended:
            self._finish(f"{report.step} steps")

    def _finish(self, detail: str = "") -> None:
        if self._work is not None:
            self._work.finish(detail)
        self._work = self._stage = None


def _note_counts(arch: Architecture, chosen: Recipe, progress: ProgressCallback) -> None:
    """Report what each stage trains, by kind."""
    from edgedistill.distillation.scaling import trained_parameters

    for stage in range(len(chosen.stages)):
        rank = chosen.pair_rank(stage)
        counts = trained_parameters(arch, arch.full, rank)
        pairs = f"low-rank pairs, r(d_in + d_out) a matrix at rank {rank}; in full they have {counts.full_matrices:,}"
        note(
            progress,
            f"stage {stage} trains {counts.total:,} parameters: {counts.vectors:,} biases and norms, {counts.head:,} "
            f"in the head, {counts.matrices:,} in {'the matrices, in full' if rank is None else pairs}",
        )


def _result(supernet: Supernet, output: Path) -> TrainResult:
    from edgedistill.distillation.recipe import Recipe
    from edgedistill.distillation.scaling import trained_parameters

    arch, chosen = supernet.model.arch, Recipe.model_validate(supernet.info.recipe)
    ranks = [chosen.pair_rank(stage) for stage in range(len(chosen.stages))]
    return TrainResult(
        supernet=output,
        stages=supernet.info.scores,
        subnets=len(supernet.space),
        layer_parameters=arch.layer_parameters(arch.full),
        total_parameters=arch.total_parameters(arch.full),
        trained_parameters=[trained_parameters(arch, arch.full, rank) for rank in ranks],
    )
