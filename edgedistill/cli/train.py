"""``edgedistill train``: a pretrained model and data in, a supernet out; ``edgedistill recipe``: its settings."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgedistill.cli.common import AsJson, progress, reported
from edgedistill.cli.figures import ERROR_TITLE, error_in
from edgedistill.cli.output import console, print_json, print_text, styled
from edgedistill.errors import CheckpointError, InputError
from edgedistill.places import is_vacant, lock, recover
from edgedistill.subnet import TaskName

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from edgedistill.decoder_architecture import AnyArchitecture
    from edgedistill.distillation.data import TaskData
    from edgedistill.distillation.evaluation import Score
    from edgedistill.distillation.loop import StepReport
    from edgedistill.distillation.models import ResolvedModel
    from edgedistill.distillation.recipe import Recipe
    from edgedistill.supernet.checkpoint import Supernet

__all__ = ["GRAMMAR", "LabelColumn", "Source", "TextColumns", "read_data", "recipe", "train", "train_supernet"]

_TITLES = (
    "stage 0: the teacher learns the task",
    "stage 1: subnets of every width",
    "stage 2: subnets of every width and depth",
)
GRAMMAR = "demo"  # the data that the package brings
_TASK: TaskName = "text-classification"

TextColumns = Annotated[
    list[str] | None, typer.Option("--text-column", help="The column that holds the text; twice for pairs.")
]
LabelColumn = Annotated[str, typer.Option(help="The column that holds the label.")]
RecipeFile = Annotated[Path | None, typer.Option("--recipe", help="A TOML file; see 'edgedistill recipe'.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", help="Change a key of the recipe: rank=8, depths.epochs=2.")
]


@dataclass(frozen=True)
class Source:
    """Where texts and labels are, what they are for, and the labels' order where a model has it already.

    ``is_recorded``: ``data`` is what a supernet recorded, so that 'demo' is the demo's own whatever folders there are.
    """

    task: TaskName
    data: str | None
    unlabelled: Path | None = None
    text_columns: tuple[str, ...] = ("text",)
    label_column: str | None = "label"
    label_names: tuple[str, ...] | None = None
    is_recorded: bool = False


@reported
def recipe(
    file: RecipeFile = None,
    changes: Changes = None,
    task: Annotated[TaskName, typer.Option(help="Whose defaults.")] = _TASK,
    as_json: AsJson = False,
) -> None:
    """Print the whole recipe as TOML, every key with what it does: a file to change and give to train.

    Example: edgedistill recipe --set rank=8 > recipe.toml
    """
    from edgedistill.distillation.recipe import read_recipe, recipe_as_toml

    whole = read_recipe(file, {}, changes or [], task)
    if as_json:
        print_json(whole.model_dump(mode="json"))
    else:
        print_text(recipe_as_toml(whole))


@reported
def train(
    model: Annotated[str, typer.Argument(help="A folder with a pretrained encoder or decoder, or a hub id.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write the supernet to.")],
    data: Annotated[
        str | None,
        typer.Option(
            help="A folder with train, validation and test as CSV, JSON, Parquet or Arrow (for text-generation also "
            ".txt), one such file, a hub id, or 'demo'."
        ),
    ] = None,
    unlabelled: Annotated[
        Path | None,
        typer.Option(help="Texts without labels, one a line: the model, fine-tuned already, teaches alone."),
    ] = None,
    task: Annotated[TaskName, typer.Option(help="What the model is for.")] = _TASK,
    text_column: TextColumns = None,
    label_column: LabelColumn = "label",
    recipe_file: RecipeFile = None,
    changes: Changes = None,
    fine_tuned: Annotated[
        bool | None, typer.Option("--fine-tuned", help="The model knows the task: it is the teacher as it is.")
    ] = None,
    random_weights: Annotated[
        bool | None,
        typer.Option("--random-weights", help="Begin a decoder of the model's shape anew: a baseline to compare with."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random; the same gives the same supernet.")] = None,
    as_json: AsJson = False,
) -> None:
    """Train a supernet: every subnet of one pretrained model, together.

    The same command goes on where an interrupted run was, whatever stopped it. Several processes divide each
    batch: start them by 'torchrun --nproc-per-node 2 -m edgedistill train …', or by 'accelerate launch -m'.

    Example: edgedistill train sentence-transformers/all-MiniLM-L6-v2 --data commands -o supernet

    Example: edgedistill train smollm --task text-generation --data wikitext -o supernet
    """
    from edgedistill.distillation.models import resolve_model
    from edgedistill.distillation.recipe import read_recipe
    from edgedistill.supernet.pretrained import teacher_labels

    started = time.monotonic()
    flags = {"seed": seed, "fine_tuned": fine_tuned, "random_weights": random_weights}
    chosen = read_recipe(recipe_file, flags, changes or [], task)
    base = resolve_model(model)
    if unlabelled is not None:
        chosen = chosen.model_copy(update={"fine_tuned": True})
    teaches = chosen.fine_tuned and task != "text-generation"
    names = teacher_labels(base.folder, task, base.name) if teaches else None
    columns = tuple(text_column or ["text"])
    rows = read_data(Source(task, data, unlabelled, columns, label_column, None if names is None else tuple(names)))
    supernet = train_supernet(base, rows, output, chosen)
    if console.quiet:
        return  # the first of several processes speaks for all
    document = _describe(supernet, output) | {"wall_s": round(time.monotonic() - started, 1)}
    if as_json:
        print_json(document)
    else:
        console.print(
            f"{output} holds a space of {document['subnets']} subnets. Next: edgedistill export {output} -o palette"
        )


def read_data(source: Source) -> TaskData:
    """The user's data, or the demo's own commands."""
    from edgedistill.demo.commands import generate
    from edgedistill.distillation.data import load_data, load_unlabelled

    columns, label = source.text_columns, source.label_column
    if source.unlabelled is not None:
        return load_unlabelled(
            source.unlabelled,
            source.task,
            evaluation=source.data,
            label_names=source.label_names,
            text_columns=columns,
            label_column=label,
        )
    if source.data is None:
        raise InputError("no data: give --data, a folder with train, validation and test, or --unlabelled, a file")
    if source.data == GRAMMAR and (source.is_recorded or not Path(source.data).exists()):
        if source.task != _TASK:
            raise InputError(f"the demo's commands are for {_TASK}; give a folder with data for {source.task}")
        return generate()
    with console.busy(f"reading {source.data}"):
        return load_data(
            source.data, source.task, text_columns=columns, label_column=label, label_names=source.label_names
        )


def train_supernet(source: ResolvedModel, data: TaskData, output: Path, chosen: Recipe) -> Supernet:
    """Begin at ``output`` or go on with what is there, stage by stage, each with its bar."""
    with console.busy("loading the training side"):
        from edgedistill.distillation import mlfs
        from edgedistill.distillation.accelerator import accelerator_for
        from edgedistill.distillation.processes import as_the_first, is_first

    chosen = mlfs.recipe_for(chosen, data)
    accelerator = accelerator_for(chosen)
    console.quiet = not is_first()
    for note in data.notes:
        console.print(note, soft_wrap=True)
    with lock(output) if is_first() else nullcontext():
        begun = as_the_first(is_first() and _is_begun(output))
        supernet = _go_on(output, source.sha256, chosen) if begun else mlfs.begin(source, data, chosen)
        accelerator.wait_for_everyone()  # the first may replace what others still read
        _print_counts(supernet.model.arch, chosen)
        with progress() as bars:
            watcher = _Watcher(bars)
            return mlfs.train(
                supernet,
                data,
                output,
                watcher.step,
                announce=watcher.announce,
                accelerator=accelerator,
                say=lambda note: console.print(note, soft_wrap=True),
            )


def _is_begun(output: Path) -> bool:
    """Return whether there is something to go on with; what a kill left beside its place is put back first."""
    recover(output)
    return not is_vacant(output)


def _go_on(output: Path, base_sha256: str, chosen: Recipe) -> Supernet:
    from edgedistill.distillation.recipe import Recipe
    from edgedistill.supernet import checkpoint

    supernet = checkpoint.load(output)
    settings = Recipe().model_dump(mode="json") | supernet.info.recipe  # which an earlier version may know fewer of
    if supernet.info.base_sha256 != base_sha256 or settings != chosen.model_dump(mode="json"):
        raise CheckpointError(
            f"{output} was begun from another model or with other settings; repeat those, or give another folder"
        )
    console.print(f"going on with {output}: {len(supernet.info.stages)} of {len(_TITLES)} stages are done")
    return supernet


class _Watcher:
    """A bar for each stage, and a moving one for what takes a while in between."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._stages: dict[int, TaskID] = {}
        self._losses: dict[str, float] = {}  # the latest of each: a step may train one subnet alone
        self._between = bars.add_task("", total=None, visible=False, note="")

    def step(self, report: StepReport) -> None:
        """Move the stage's bar; a line when validation scored it, and when it is done."""
        if report.stage not in self._stages:
            self._bars.update(self._between, visible=False)
            self._stages[report.stage] = self._bars.add_task(_TITLES[report.stage], total=report.steps, note="")
            self._losses.clear()
        self._losses |= report.losses
        losses = "  ".join(f"{name} {loss:.3f}" for name, loss in sorted(self._losses.items()))
        self._bars.update(self._stages[report.stage], completed=report.step, note=f"loss {losses}")
        if report.scored:
            scores = "  ".join(f"{name} {_told(score)}" for name, score in report.scored.items())
            console.print(f"  step {report.step:,} of {report.steps:,}, validation: {scores}")
        if report.ended:
            elapsed = self._bars.tasks[-1].elapsed or 0.0
            length = f"{report.step} steps, {elapsed:.0f} s"
            console.print(styled(("✓", "green"), f" {_TITLES[report.stage]} ", (length, "dim")))

    def announce(self, title: str) -> None:
        """Say what is under way now."""
        self._bars.update(self._between, description=title, visible=True)


def _told(score: Score) -> str:
    """Return the headline and the loss in words; of a regression the mean absolute error too."""
    error = error_in(score.metrics)
    told = "" if error is None else f"{ERROR_TITLE} {error:.4g}, "
    return f"{score.value:.2%} ({told}loss {score.loss:.3f})"


def _print_counts(arch: AnyArchitecture, chosen: Recipe) -> None:
    """What each stage trains, by kind."""
    from edgedistill.distillation.scaling import trained_parameters

    for stage in range(len(chosen.stages)):
        rank = chosen.pair_rank(stage)
        counts = trained_parameters(arch, arch.full, rank)
        pairs = f"low-rank pairs, r(d_in + d_out) a matrix at rank {rank}; in full they have {counts.full_matrices:,}"
        console.print(
            f"stage {stage} trains {counts.total:,} parameters: {counts.vectors:,} biases and norms, {counts.head:,} "
            f"in the head, {counts.matrices:,} in {'the matrices, in full' if rank is None else pairs}"
        )


def _describe(supernet: Supernet, output: Path) -> dict[str, Any]:
    """The command's JSON document."""
    from edgedistill.distillation.recipe import Recipe
    from edgedistill.distillation.scaling import trained_parameters

    arch, chosen = supernet.model.arch, Recipe.model_validate(supernet.info.recipe)
    trained = [trained_parameters(arch, arch.full, chosen.pair_rank(stage)) for stage in range(len(chosen.stages))]
    return {
        "supernet": str(output),
        "stages": [score.model_dump() for score in supernet.info.scores],
        "subnets": len(supernet.space),
        "layer_parameters": arch.layer_parameters(arch.full),
        "total_parameters": arch.total_parameters(arch.full),
        "trained_parameters": [
            {"matrices": of.matrices, "vectors": of.vectors, "head": of.head, "total": of.total} for of in trained
        ],
    }
