"""``edgedistill profile``: measure a palette on this machine; and the table of a palette."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from edgedistill.cli.common import AsJson, locking, progress, reported, stage
from edgedistill.cli.comparison import show_comparison
from edgedistill.cli.figures import ERROR_TITLE, error_in, figures_of
from edgedistill.cli.output import console, print_json, styled
from edgedistill.errors import InputError
from edgedistill.manifest import DeviceProfile, Palette, SubnetEntry, load

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["palette_document", "palette_table", "profile", "profile_here", "subnet_record"]

_PACED = 0.5  # share of the timed runs: below it, it is told
_SHOWN_TOKENS = 16


def _place(palette: Path, profiles: Path | None, compare: list[Path] | None, **_: object) -> Path | None:
    """Return the folder that the command writes to, if it writes at all."""
    return None if compare or not palette.is_dir() else profiles or palette


@reported
@locking(_place)
def profile(
    palette: Annotated[Path, typer.Argument(help="The palette's folder.")],
    profiles: Annotated[Path | None, typer.Option(help="Write the profile here, if the palette is read-only.")] = None,
    lengths: Annotated[str | None, typer.Option(help="Tokens of a sequence; default: 16,64,128.")] = None,
    batches: Annotated[str | None, typer.Option(help="Sequences in a run, as 1,8; default: 1.")] = None,
    threads: Annotated[str | None, typer.Option(help="Of a session, as 4,1; default: usable cores.")] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Measure a few subnets at the ends of lengths and batches; predict the rest."),
    ] = False,
    compare: Annotated[
        list[Path] | None,
        typer.Option(help="Measure nothing: show this profile beside the palette's own, or two of them side by side."),
    ] = None,
    ssh: Annotated[
        str | None,
        typer.Option(metavar="HOST", help="Measure on this board: host, user@host:port or a Host of ~/.ssh/config."),
    ] = None,
    install: Annotated[
        str | None,
        typer.Option(metavar="WHAT", help='With --ssh: install this there first, "edgedistill[cpu]" or a wheel.'),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure every subnet's latency, load time and memory, on this machine or over ssh on a board.

    Interrupted on this machine, it goes on where it was when it is asked for the same again.

    Example: edgedistill profile palette --lengths 16,128 --threads 4,1
    """
    started = time.monotonic()
    found = load(palette, profiles=profiles)
    if compare:
        show_comparison(found, compare, as_json=as_json)
        return
    asked = {"lengths": lengths, "batches": batches, "threads": threads}
    numbers = {name: _numbers(name, text) for name, text in asked.items() if text is not None}
    if install is not None and ssh is None:
        raise InputError("--install is for the board of --ssh; here, use pip")
    if ssh is None:
        measured = profile_here(found, quick=quick, **numbers)
    else:
        options = [f"--{name}={text}" for name, text in asked.items() if text is not None]
        measured = _profile_there(found, ssh, [*options, *["--quick"] * quick], install)
    document = palette_document(found, measured) | {"wall_s": round(time.monotonic() - started, 1)}
    if as_json:
        print_json(document)
    else:
        console.print(palette_table(found, measured))


def _numbers(name: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--{name}: got {text!r}, expected whole numbers with commas between them, as 1,8") from error


def _profile_there(palette: Palette, host: str, options: Sequence[str], install: str | None) -> DeviceProfile:
    """On the board, whose progress is shown in one line, or in one each where nobody watches."""
    from edgedistill.device_profiles.remote import profile_remotely

    with console.busy(f"{host}: connecting") as status:

        def show(line: str) -> None:
            status.update(styled(f"{host}: {line}"))
            if not console.is_terminal:
                console.print(f"{host}: {line}")

        measured = profile_remotely(
            palette, host, options, install=install, folder=palette.profiles_folder, on_progress=show
        )
    _tell_doubts(measured)
    return measured


def profile_here(palette: Palette, **asked: Any) -> DeviceProfile:
    """Measure what is ``asked`` of `device_profiles.profile`, and put it where the palette's profiles lie."""
    from edgedistill.device_profiles import profile as measure
    from edgedistill.device_profiles.keeping import keep_profile
    from edgedistill.runtime.device import device_name

    unfinished = palette.profiles_folder / f".{device_name()}.unfinished"
    with progress() as bars, stage(bars, "profiling this machine", 1) as task:
        measured = measure(
            palette,
            unfinished=unfinished,
            on_progress=lambda done, total: _advance(bars, task, done, total),
            **asked,
        )
    taken = keep_profile(palette, measured)
    unfinished.unlink(missing_ok=True)
    if taken is not None:
        console.print(styled((taken, "yellow")))
    _tell_doubts(measured)
    return measured


def _tell_doubts(profile: DeviceProfile) -> None:
    """Why its figures may not be the device's at its best."""
    found, conditions = [], profile.conditions
    if profile.device.emulated:
        found.append("that machine emulates another: its figures say nothing of a board, and no session goes by them")
    if not conditions.quiet:
        found.append(f"{profile.device.name} was not quiet: other work used {conditions.other_load:.0%} of it")
    if conditions.kept_pace is not None and conditions.kept_pace < _PACED:
        found.append(
            f"its processor kept its best pace during {conditions.kept_pace:.0%} of the runs; latencies are of those "
            "alone. A host may share it, or its clock change"
        )
    if conditions.throttled:
        found.append("its processor was slowed down meanwhile, by heat or want of power")
    for doubt in found:
        console.print(styled((doubt, "yellow")))


def _advance(bars: Progress, task: TaskID, done: int, total: int) -> None:
    bars.update(task, completed=done, total=total)


def palette_table(palette: Palette, profile: DeviceProfile | None) -> Table:
    """A row a subnet, largest first; latency and memory where there is a profile. Fits 80 columns."""
    where = "" if profile is None else f"; {_told(profile)} on {profile.device.board} at {_SHOWN_TOKENS} tokens"
    metric = metric_of(palette).replace("_", " ")
    table = Table(title=f"{metric} on test{where}", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("subnet", no_wrap=True)
    measured = ("p50 ms", "p95 ms", "memory MB") if profile else ()
    tells_errors = error_in(figures_of(palette.manifest.subnets[0], "test")) is not None
    for column in ("layer params", "total params", "MB", metric, *((ERROR_TITLE,) if tells_errors else ()), *measured):
        table.add_column(column, justify="right")
    for entry in palette.manifest.subnets:
        record = subnet_record(entry, profile)
        figures = (
            [f"{record['p50_ms']:.2f}", f"{record['p95_ms']:.2f}", f"{record['memory_mb']:.0f}"] if profile else []
        )
        table.add_row(
            entry.name,
            f"{entry.layer_parameters / 1e6:.2f} M",
            f"{entry.total_parameters / 1e6:.1f} M",
            f"{entry.size_mb:.1f}",
            f"{record[metric_of(palette)]:.2%}",
            *([f"{error_in(record):.4g}"] if tells_errors else []),
            *figures,
        )
    return table


def _told(profile: DeviceProfile) -> str:
    kinds = {"measured": "measured", "quick": "measured or predicted", "estimated": "estimated"}
    return f"{'EMULATED, ' if profile.device.emulated else ''}{kinds[profile.kind]}"


def metric_of(palette: Palette) -> str:
    """The palette's headline metric, as accuracy; the score in percent stands for correlations too."""
    return palette.manifest.subnets[0].metric("test")


def subnet_record(entry: SubnetEntry, profile: DeviceProfile | None) -> dict[str, Any]:
    """One subnet in the JSON documents; latency at 16 tokens, batch 1."""
    record: dict[str, Any] = {
        "name": entry.name,
        "layers": len(entry.layers),
        "heads": entry.layers[0].heads,
        "ffn": entry.layers[0].ffn,
        "hidden": entry.hidden,
        "precision": entry.precision,
        "layer_parameters": entry.layer_parameters,
        "total_parameters": entry.total_parameters,
        "size_mb": entry.size_mb,
        entry.metric("test"): round(entry.score("test"), 5),
    }
    record |= {name: value for name, value in figures_of(entry, "test").items() if error_in({name: value}) is not None}
    found = profile.subnet(entry.name) if profile else None
    point = found.latency_at(_SHOWN_TOKENS) if found else None
    record["p50_ms"] = round(point.p50_ms, 3) if point else None
    record["p95_ms"] = round(point.p95_ms, 3) if point else None
    record["low_ms"] = round(point.low_ms, 3) if point else None
    record["high_ms"] = round(point.high_ms, 3) if point else None
    record["samples"] = point.samples if point else None
    record["memory_mb"] = round(found.peak_mb, 1) if found else None
    return record


def palette_document(palette: Palette, profile: DeviceProfile | None) -> dict[str, Any]:
    """A palette and one profile of it as a JSON document."""
    return {
        "palette": str(palette.folder),
        "subnets": [subnet_record(entry, profile) for entry in palette.manifest.subnets],
        "profile": None
        if profile is None
        else {
            "kind": profile.kind,
            "device": profile.device.model_dump(),
            "conditions": profile.conditions.model_dump(mode="json"),
        },
    }
