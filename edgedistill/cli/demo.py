"""``edgedistill demo``: the whole path once, live."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.live import Live
from rich.table import Table

from edgedistill.cli.common import AsJson, locking, reported
from edgedistill.cli.output import console, print_json, styled
from edgedistill.cli.palette_table import palette_document, palette_table
from edgedistill.cli.search import Count
from edgedistill.cli.terminal_progress import TerminalProgress
from edgedistill.cli.train import LabelColumn, TextColumns
from edgedistill.errors import InputError
from edgedistill.workflows import exporting, profiling, searching
from edgedistill.workflows.progress import ProgressCallback, work
from edgedistill.workflows.task_data import DEFAULT_TASK, DEMO, LabelledSource, read_data

if TYPE_CHECKING:
    from edgedistill.data.dataset import TaskData
    from edgedistill.demo.serve import Served, View
    from edgedistill.palette import DeviceProfile, Palette
    from edgedistill.supernet.checkpoint import Supernet

__all__ = ["demo"]

_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
_COMMAND_TOKENS = 16


def _place(data: str, output: Path | None, **_: object) -> Path:
    return output or Path("edgedistill-demo") / (Path(data).name or "data")


@reported
@locking(_place)
def demo(
    data: Annotated[
        str, typer.Option(help="Your own: a folder with train, validation and test, such as train.csv, or a hub id.")
    ] = DEMO,
    model: Annotated[str, typer.Option(help="A folder with a pretrained encoder, or a hub id.")] = _MODEL,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to put it all; default: edgedistill-demo/<data's name>."),
    ] = None,
    text_column: TextColumns = None,
    label_column: LabelColumn = "label",
    count: Count = 8,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Train, export and profile a palette, then watch it swap while this machine is put under load.

    Without options: a smart home's commands and the encoder that the install brought; about five minutes.
    What an interrupted demo finished is not done again.

    Example: edgedistill demo --data my-texts --text-column utterance --label-column intent
    """
    started = time.monotonic()
    if len(text_column or ()) > 1:
        raise InputError("the demo serves single texts; give one --text-column, or use train and export for pairs")
    folder = _place(data, output)
    source = LabelledSource(
        task=DEFAULT_TASK, data=data, text_columns=tuple(text_column or ["text"]), label_column=label_column
    )
    progress = TerminalProgress()
    rows = read_data(source, progress)
    console.print(f"{rows.source}: {len(rows.train.texts):,} texts to train on, {len(rows.label_names)} labels")
    supernet = _train(model, rows, folder / "supernet", seed, progress)
    options = searching.SearchOptions(count=count)
    result = searching.find_family(supernet, folder / "supernet", rows, options, progress)
    family = [member.subnet for member in result.family]
    palette = exporting.export_family(supernet, rows, family, folder / "palette", progress=progress)
    measured = profiling.profile(palette, progress=progress)
    baseline = _baseline(rows, progress)
    served, budget_ms = _serve_live(palette, measured, rows)
    document = _document(supernet, served, baseline) | palette_document(palette, measured)
    document["wall_s"] = round(time.monotonic() - started, 1)
    if as_json:
        print_json(document)
    else:
        console.print(palette_table(palette, measured))
        _print_summary(document, budget_ms)


def _train(model: str, rows: TaskData, folder: Path, seed: int, progress: ProgressCallback) -> Supernet:
    from edgedistill.distillation.models import resolve_model
    from edgedistill.distillation.recipe import Recipe
    from edgedistill.workflows.training import train_supernet

    supernet = train_supernet(resolve_model(model), rows, folder, Recipe(seed=seed), progress)
    teacher = supernet.info.scores[0]
    curve = " ".join(f"{value:.1%}" for value in teacher.curve)
    console.print(f"teacher: {teacher.test:.2%} on test; on validation after each epoch: {curve}")
    return supernet


def _baseline(rows: TaskData, progress: ProgressCallback) -> float:
    from edgedistill.distillation.baseline import word_count_score

    with work(progress, "fitting the word-count baseline"):
        return word_count_score(rows)


def _serve_live(palette: Palette, measured: DeviceProfile, rows: TaskData) -> tuple[Served, float]:
    """Serve the test split, and show what happens as it happens."""
    from edgedistill.demo.serve import budget_for, serve
    from edgedistill.runtime.onnx import usable_cores

    budget_ms = budget_for(palette, measured, _COMMAND_TOKENS)
    labelled = _requests(rows)
    console.print(f"serving with a budget of {budget_ms:.1f} ms a request")
    shown: list[str] = []
    with Live(console=console, transient=True, auto_refresh=False) as live:

        def on_view(view: View) -> None:
            live.update(_panel(view, budget_ms), refresh=console.is_terminal)
            if not shown or shown[-1] != view.subnet:
                shown.append(view.subnet)
                console.print(styled(f"{view.phase}: ", (view.subnet, "bold"), f" answers ({view.reason})"))

        served = serve(palette, labelled, budget_ms=budget_ms, cores=usable_cores(), on_view=on_view)
    counts = f"{served.requests:,} requests, {served.failed} failed, {served.swaps} swaps"
    right = served.right / max(1, served.requests)
    console.print(styled(("✓", "green"), f" {counts}, {right:.1%} of the answers right"))
    return served, budget_ms


def _requests(rows: TaskData) -> list[tuple[str, str]]:
    """Return the test split's texts and their labels."""
    pairs = zip(rows.test.texts, rows.test.labels or (), strict=True)
    return [(t, rows.label_names[i]) for t, i in pairs if isinstance(t, str) and isinstance(i, int)]


def _panel(view: View, budget_ms: float) -> Table:
    table = Table(title=view.phase, show_header=False)
    load = "unknown" if view.other_load is None else f"{view.other_load:.0%}"
    colour = "green" if view.recent_p95_ms <= budget_ms else "red"
    table.add_row("answering", styled((view.subnet, "bold")))
    table.add_row("because", view.reason)
    table.add_row("CPU used by others", load)
    p95 = styled((f"{view.recent_p95_ms:.1f} ms", colour), f" of {budget_ms:.1f}")
    table.add_row("p95 of the last requests", p95)
    table.add_row("requests", f"{view.requests:,}, {view.failed} failed, {view.swaps} swaps")
    return table


def _document(supernet: Supernet, served: Served, baseline: float) -> dict[str, Any]:
    arch = supernet.model.arch
    return {
        "teacher": {
            "accuracy": round(supernet.info.scores[0].test, 5),
            "validation_curve": [round(value, 5) for value in supernet.info.scores[0].curve],
            "layer_parameters": arch.layer_parameters(arch.full),
            "total_parameters": arch.total_parameters(arch.full),
        },
        "baseline": {"accuracy": round(baseline, 5)},
        "requests": served.requests,
        "failed": served.failed,
        "swaps": served.swaps,
        "served_accuracy": round(served.right / max(1, served.requests), 5),
    }


def _print_summary(document: dict[str, Any], budget_ms: float) -> None:
    teacher, baseline, folder = document["teacher"]["accuracy"], document["baseline"]["accuracy"], document["palette"]
    console.print(f"teacher {teacher:.2%}, word counts with a linear model {baseline:.2%}; {document['wall_s']:.0f} s")
    console.print("Next, ask it yourself:")
    console.print(
        f"  edgedistill run {folder} 'it is too dark in here' --max-latency-ms {budget_ms:.0f}", soft_wrap=True
    )
