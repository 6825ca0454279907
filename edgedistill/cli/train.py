"""``edgedistill train``: a pretrained model and data in, a supernet out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgedistill.cli.common import AsJson, console, print_json, progress, reported
from edgedistill.errors import CheckpointError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from edgedistill.distillation.data import ClassificationData
    from edgedistill.distillation.recipe import Recipe
    from edgedistill.distillation.stages import StepReport
    from edgedistill.subnet import Architecture
    from edgedistill.supernet.checkpoint import Supernet

__all__ = ["GRAMMAR", "LabelColumn", "TextColumn", "read_data", "train", "train_supernet"]

_TITLES = (
    "stage 0: the teacher learns the task",
    "stage 1: subnets of every width",
    "stage 2: subnets of every width and depth",
)
GRAMMAR = "demo"  # the data that the package brings

TextColumn = Annotated[str, typer.Option(help="The column that holds the text.")]
LabelColumn = Annotated[str, typer.Option(help="The column that holds the label.")]


@reported
def train(
    model: Annotated[str, typer.Argument(help="A folder with a pretrained encoder, or a hub id.")],
    data: Annotated[
        str, typer.Option(help="A folder with train, validation and test as CSV or JSON Lines, a hub id, or 'demo'.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write the supernet to.")],
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    seed: Annotated[int, typer.Option(help="Of everything random; the same gives the same supernet.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Train a supernet: every subnet of one pretrained model, together.

    The same command goes on after the last finished stage of an interrupted run.

    Example: edgedistill train sentence-transformers/all-MiniLM-L6-v2 --data commands -o supernet
    """
    from edgedistill.distillation.recipe import Recipe

    started = time.monotonic()
    rows = read_data(data, text_column, label_column)
    supernet = train_supernet(model, rows, output, Recipe(seed=seed))
    document = _describe(supernet, output) | {"wall_s": round(time.monotonic() - started, 1)}
    if as_json:
        print_json(document)
    else:
        console.print(
            f"{output} holds a space of {document['subnets']} subnets. Next: edgedistill export {output} -o palette"
        )


def read_data(source: str, text_column: str, label_column: str) -> ClassificationData:
    """The user's data, or the demo's own commands."""
    from edgedistill.demo.commands import generate
    from edgedistill.distillation.data import load_classification

    if source == GRAMMAR and not Path(source).exists():
        return generate()
    with console.status(f"reading {source}"):
        return load_classification(source, text_column=text_column, label_column=label_column)


def train_supernet(model: str, data: ClassificationData, output: Path, recipe: Recipe) -> Supernet:
    """Begin at ``output`` or go on with what is there, stage by stage, each with its bar."""
    with console.status("loading the training side"):
        from edgedistill.distillation import mlfs
        from edgedistill.distillation.models import resolve_model
        from edgedistill.supernet import checkpoint

    source = resolve_model(model)
    supernet = _go_on(output, source.sha256, recipe) if output.exists() else mlfs.begin(source, data, recipe)
    _print_counts(supernet.model.arch, supernet.info.rank)
    with progress() as bars:
        watcher = _Watcher(bars)
        return mlfs.train(
            supernet, data, watcher.step, announce=watcher.announce, save=lambda done: checkpoint.save(done, output)
        )


def _go_on(output: Path, base_sha256: str, recipe: Recipe) -> Supernet:
    from edgedistill.supernet import checkpoint

    supernet = checkpoint.load(output)
    if supernet.info.base_sha256 != base_sha256 or supernet.info.recipe != recipe.model_dump(mode="json"):
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
        self._between = bars.add_task("", total=None, visible=False, note="")

    def step(self, report: StepReport) -> None:
        """Move the stage's bar; a line when it is done."""
        if report.stage not in self._stages:
            self._bars.update(self._between, visible=False)
            self._stages[report.stage] = self._bars.add_task(_TITLES[report.stage], total=report.steps, note="")
        losses = "  ".join(f"{name} {loss:.3f}" for name, loss in report.losses.items())
        self._bars.update(self._stages[report.stage], completed=report.step, note=f"loss {losses}")
        if report.step == report.steps:
            elapsed = self._bars.tasks[-1].elapsed or 0.0
            console.print(f"[green]✓[/green] {_TITLES[report.stage]} [dim]{report.steps} steps, {elapsed:.0f} s[/dim]")

    def announce(self, title: str) -> None:
        """Say what is under way now."""
        self._bars.update(self._between, description=title, visible=True)


def _print_counts(arch: Architecture, rank: int) -> None:
    """What a stage trains, by kind, beside full fine-tuning."""
    from edgedistill.distillation.scaling import trained_parameters

    counts = trained_parameters(arch, arch.full, rank)
    console.print(
        f"a stage trains {counts.total:,} parameters: {counts.low_rank:,} in low-rank pairs, r(d_in + d_out) a matrix "
        f"at rank {rank}, {counts.vectors:,} biases and norms, {counts.head:,} in the head; "
        f"full fine-tuning of the same matrices: {counts.full_matrices:,}"
    )


def _describe(supernet: Supernet, output: Path) -> dict[str, Any]:
    """The command's JSON document."""
    from edgedistill.distillation.scaling import trained_parameters

    arch = supernet.model.arch
    counts = trained_parameters(arch, arch.full, supernet.info.rank)
    return {
        "supernet": str(output),
        "stages": [score.model_dump() for score in supernet.info.scores],
        "subnets": len(supernet.space),
        "layer_parameters": arch.layer_parameters(arch.full),
        "total_parameters": arch.total_parameters(arch.full),
        "trained_parameters_a_stage": {
            "low_rank": counts.low_rank,
            "vectors": counts.vectors,
            "head": counts.head,
            "total": counts.total,
        },
    }
