"""``edgedistill search``: what the supernet can be on a device, and which subnets would make the family."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from edgedistill.cli.common import AsJson, progress, reported, stage
from edgedistill.cli.figures import ERROR_TITLE, error_in
from edgedistill.cli.output import lines, print_json, standard_output
from edgedistill.errors import BoardError, InputError, SearchError
from edgedistill.manifest import MEAN_ABSOLUTE_ERROR

if TYPE_CHECKING:
    from edgedistill.distillation.data import TaskData
    from edgedistill.search import Costs, Member, Search
    from edgedistill.supernet.checkpoint import Supernet

__all__ = [
    "Asked",
    "Count",
    "Device",
    "Evaluations",
    "MaxLatency",
    "MaxMemory",
    "Profiled",
    "Tokens",
    "found_family",
    "search",
]

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
Device = Annotated[str | None, typer.Option(help="A board by its name or TOML, or a device of the --profiled palette.")]


@dataclass(frozen=True)
class Asked:
    """What the options say."""

    count: int = 8
    device: str | None = None
    profiled: Path | None = None
    tokens: int = 64
    max_latency_ms: float | None = None
    max_memory_mb: float | None = None
    against: Literal["latency", "memory", "macs", "parameters"] | None = None
    evaluations: int = 400


@reported
def search(
    supernet: Annotated[Path, typer.Argument(help="The folder that 'edgedistill train' wrote.")],
    data: Annotated[str | None, typer.Option(help="Where the training data are now, if they moved.")] = None,
    unlabelled: Annotated[Path | None, typer.Option(help="Where the texts without labels are now.")] = None,
    device: Device = None,
    profiled: Profiled = None,
    max_latency_ms: MaxLatency = None,
    max_memory_mb: MaxMemory = None,
    tokens: Tokens = 64,
    count: Count = 8,
    evaluations: Evaluations = 400,
    against: Annotated[
        Literal["latency", "memory", "macs", "parameters"] | None,
        typer.Option(help="What the front weighs quality against; default: latency with a device, else parameters."),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the space, its front and the family to this file (.svg, .png).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score every subnet on validation data, and show the best at each cost: what 'export' would take.

    Scores are kept beside the supernet, so that another search, or the export, asks only for what is new.

    Example: edgedistill search supernet --device pi5 --max-latency-ms 40 --picture front.svg
    """
    from edgedistill.cli.export import load_trained, source_of
    from edgedistill.cli.train import read_data

    if picture is not None and not picture.absolute().parent.is_dir():
        raise InputError(f"--picture: {picture.parent} is not a folder; make it first")
    trained = load_trained(supernet)
    rows = read_data(source_of(trained, data, unlabelled))
    asked = Asked(count, device, profiled, tokens, max_latency_ms, max_memory_mb, against, evaluations)
    found = found_family(trained, supernet, rows, asked)
    if picture is not None:
        _draw(found, trained, picture)
    if as_json:
        print_json(_document(found, trained))
    else:
        out = standard_output()
        out.print(_table(found, trained))
        out.print(_summary(found, len(trained.space)))


def found_family(trained: Supernet, folder: Path, rows: TaskData, asked: Asked) -> Search:
    """Score what is not scored yet, and search."""
    from edgedistill.distillation.evaluation import evaluate
    from edgedistill.distillation.mlfs import encode_data
    from edgedistill.distillation.tasks import task_of
    from edgedistill.search import Limits, Terms, explored, scored_once
    from edgedistill.search import search as choose
    from edgedistill.subnet import SubnetConfig

    arch, kind = trained.model.arch, task_of(trained.info.task)
    model = _model_of(asked, trained)  # before the long part: what is wrong with it should be said now
    encoded, reference = encode_data(trained, rows), trained.teacher.get("validation")

    def metrics(subnet: SubnetConfig) -> dict[str, float]:
        names = trained.info.labels
        return evaluate(trained.model, subnet, encoded.validation, kind, names=names, reference=reference).metrics

    limits = Limits(asked.max_latency_ms, asked.max_memory_mb)
    terms = Terms(arch, asked.tokens, asked.against or ("parameters" if model is None else "latency"), limits, model)
    most = min(len(trained.space), asked.evaluations)
    title = f"scoring {most} of {len(trained.space)} subnets on validation data"
    with progress() as bars, stage(bars, title, most) as task, scored_once(trained, folder, metrics) as once:

        def scored(subnet: SubnetConfig) -> float:
            bars.advance(task)
            return next(iter(once(subnet).values()))

        qualities = explored(trained.space, terms, scored, asked.evaluations)
        found = choose(qualities, terms, asked.count)

        def with_errors(members: list[Member]) -> list[Member]:
            return [replace(member, error=error_in(once(member.subnet))) for member in members]

        return replace(found, front=with_errors(found.front), family=with_errors(found.family))


def _model_of(asked: Asked, trained: Supernet) -> Costs | None:
    """The device's costs: measured in the palette that was profiled there, else estimated from its data sheet."""
    from edgedistill.device_profiles import load_board
    from edgedistill.manifest import load
    from edgedistill.runtime.profiles import choose_profile
    from edgedistill.search import Estimated, Fitted, Limits

    limits = Limits(asked.max_latency_ms, asked.max_memory_mb)
    if trained.info.generation is not None and (asked.profiled or asked.device):
        raise InputError(
            "what a subnet costs on a device is predicted of encoders alone; leave out --device and --profiled, "
            "and search a decoder's space against parameters or macs"
        )
    if asked.profiled is not None:
        palette = load(asked.profiled)
        profile = choose_profile(palette, asked.device)
        if profile is None or profile.kind != "measured":
            raise SearchError(f"{asked.profiled} has no measured profile; run 'edgedistill profile' on the device")
        return Fitted(trained.encoder.arch, palette, profile, asked.tokens)
    if asked.device is not None:
        try:
            return Estimated(trained.encoder.arch, load_board(asked.device), asked.tokens)
        except BoardError as error:
            raise BoardError(f"{error}; of a device that you measured, give the palette by --profiled") from error
    if limits != Limits():
        raise InputError("--max-latency-ms and --max-memory-mb are of a device; say which by --device or --profiled")
    return None


def _draw(found: Search, trained: Supernet, picture: Path) -> None:
    from edgedistill.search.picture import draw

    try:
        draw(found, trained.info.scores[-1].metric, picture)
    except ValueError as error:
        raise InputError(f"{picture} cannot be drawn: {str(error).splitlines()[0]}") from error


def _table(found: Search, trained: Supernet) -> Table:
    metric = trained.info.scores[-1].metric.replace("_", " ")
    title = [f"The family, {metric} on validation", *([found.source] if found.source else [])]
    table = Table(title=lines(title), box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("subnet", no_wrap=True)
    tells_errors = any(member.error is not None for member in found.family)
    columns = (metric, *((ERROR_TITLE,) if tells_errors else ()), "layer params", "M MACs")
    for column in (*columns, *(("ms", "memory MB") if found.source else ())):
        table.add_column(column, justify="right")
    for member in found.family:
        cost = [f"{member.cost.latency_ms:.2f}", f"{member.cost.memory_mb:.0f}"] if member.cost else []
        error = [] if member.error is None else [f"{member.error:.4g}"]
        figures = [f"{member.layer_parameters / 1e6:.2f} M", f"{member.macs / 1e6:.0f}"]
        table.add_row(member.subnet.name, f"{member.quality:.2%}", *error, *figures, *cost)
    return table


def _summary(found: Search, space: int) -> str:
    """The smallest, the middle and the largest, in words."""
    family = found.family
    picked = {"largest": family[0], "middle": family[len(family) // 2], "smallest": family[-1]}
    lines = [f"{word}: {member.subnet.name}, {member.quality:.2%}" for word, member in picked.items()]
    return f"{len(found.scored)} of {space} subnets scored, {len(found.front)} on the front; " + "; ".join(lines)


def _document(found: Search, trained: Supernet) -> dict[str, Any]:
    return {
        "metric": trained.info.scores[-1].metric,
        "split": "validation",
        "against": found.against,
        "costs": found.source,
        "space": len(trained.space),
        "scored": len(found.scored),
        "front": [_record(member) for member in found.front],
        "family": [_record(member) for member in found.family],
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
