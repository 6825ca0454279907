"""``edgedistill search``: what the supernet can be on a device, and which subnets would make the family."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from edgedistill.cli.common import AsJson, reported
from edgedistill.cli.output import lines, print_json, standard_output
from edgedistill.cli.terminal_progress import TerminalProgress
from edgedistill.tasks.task import MEAN_ABSOLUTE_ERROR
from edgedistill.workflows import searching
from edgedistill.workflows.figures import ERROR_TITLE

if TYPE_CHECKING:
    from edgedistill.subnet_search import Member
    from edgedistill.workflows.searching import SearchResult

__all__ = ["Count", "Device", "Evaluations", "MaxLatency", "MaxMemory", "Profiled", "Tokens", "search"]

Count = Annotated[int, typer.Option(min=2, help="How many subnets make the family.")]
MaxLatency = Annotated[float | None, typer.Option(help="Leave out what takes longer, at --tokens tokens.")]
MaxMemory = Annotated[float | None, typer.Option(help="Leave out what takes more memory.")]
Tokens = Annotated[int, typer.Option(min=1, help="The length of a text that costs are counted at.")]
Evaluations = Annotated[
    int,
    typer.Option(min=4, help="Score at most so many subnets; where the space has more, a sampler says which."),
]
Profiled = Annotated[
    Path | None, typer.Option(help="A palette that was profiled on the device: its figures replace the estimate.")
]
Device = Annotated[str | None, typer.Option(help="A board by its name or TOML, or a device of the --profiled-palette.")]


@reported
def search(
    supernet: Annotated[Path, typer.Argument(help="The folder that 'edgedistill train' wrote.")],
    data: Annotated[str | None, typer.Option(help="Where the training data are now, if they moved.")] = None,
    unlabelled: Annotated[Path | None, typer.Option(help="Where the texts without labels are now.")] = None,
    device: Device = None,
    profiled_palette: Profiled = None,
    max_latency_ms: MaxLatency = None,
    max_memory_mb: MaxMemory = None,
    tokens: Tokens = 64,
    count: Count = 8,
    evaluations: Evaluations = 400,
    cost_metric: Annotated[
        searching.CostMetric | None,
        typer.Option(help="The cost of the front's second axis; default: latency with a device, else parameters."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the space, its front and the family to this file (.svg, .png).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score every subnet on validation data, and show the best at each cost: what 'export' would take.

    Scores are kept beside the supernet, so that another search, or the export, asks only for what is new.

    Example: edgedistill search supernet --device pi5 --max-latency-ms 40 --plot front.svg
    """
    result = searching.search(
        supernet,
        data=data,
        unlabelled=unlabelled,
        device=device,
        profiled_palette=profiled_palette,
        max_latency_ms=max_latency_ms,
        max_memory_mb=max_memory_mb,
        tokens=tokens,
        count=count,
        evaluations=evaluations,
        cost_metric=cost_metric,
        plot=plot,
        progress=TerminalProgress(),
    )
    if as_json:
        print_json(_document(result))
    else:
        out = standard_output()
        out.print(_table(result))
        out.print(_summary(result))


def _table(result: SearchResult) -> Table:
    metric = result.metric.replace("_", " ")
    title = [f"The family, {metric} on validation", *([result.costs] if result.costs else [])]
    table = Table(title=lines(title), box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("subnet", no_wrap=True)
    has_errors = any(member.error is not None for member in result.family)
    columns = (metric, *((ERROR_TITLE,) if has_errors else ()), "layer params", "M MACs")
    for column in (*columns, *(("ms", "memory MB") if result.costs else ())):
        table.add_column(column, justify="right")
    for member in result.family:
        cost = [f"{member.cost.latency_ms:.2f}", f"{member.cost.memory_mb:.0f}"] if member.cost else []
        error = [] if member.error is None else [f"{member.error:.4g}"]
        figures = [f"{member.layer_parameters / 1e6:.2f} M", f"{member.macs / 1e6:.0f}"]
        table.add_row(member.subnet.name, f"{member.quality:.2%}", *error, *figures, *cost)
    return table


def _summary(result: SearchResult) -> str:
    """Describe the smallest, the middle and the largest in words."""
    family = result.family
    picked = {"largest": family[0], "middle": family[len(family) // 2], "smallest": family[-1]}
    lines = [f"{word}: {member.subnet.name}, {member.quality:.2%}" for word, member in picked.items()]
    return f"{len(result.scored)} of {result.space} subnets scored, {len(result.front)} on the front; " + "; ".join(
        lines
    )


def _document(result: SearchResult) -> dict[str, Any]:
    return {
        "metric": result.metric,
        "split": "validation",
        "cost_metric": result.cost_metric,
        "costs": result.costs,
        "space": result.space,
        "scored": len(result.scored),
        "front": [_record(member) for member in result.front],
        "family": [_record(member) for member in result.family],
    }


def _record(member: Member) -> dict[str, Any]:
    cost = {} if member.cost is None else {"latency_ms": member.cost.latency_ms, "memory_mb": member.cost.memory_mb}
    error = {} if member.error is None else {MEAN_ABSOLUTE_ERROR: member.error}
    return {
        "name": member.subnet.name,
        "quality": round(member.quality, 5),
        **error,
        "layer_parameters": member.layer_parameters,
        "macs": member.macs,
        **cost,
    }
