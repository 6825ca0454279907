"""``edgedistill profile``: measure a palette on this machine, or over SSH on a board."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from edgedistill.cli.common import AsJson, locking, reported
from edgedistill.cli.comparison import show_comparison
from edgedistill.cli.output import console, print_json
from edgedistill.cli.palette_table import palette_document, palette_table
from edgedistill.cli.terminal_progress import TerminalProgress
from edgedistill.errors import InputError
from edgedistill.palette import load
from edgedistill.workflows import profiling

__all__ = ["profile"]


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
    opened = load(palette, profiles=profiles)
    if compare:
        show_comparison(opened, compare, as_json=as_json)
        return
    measured = profiling.profile(
        opened,
        lengths=_numbers("lengths", lengths),
        batches=_numbers("batches", batches),
        threads=_numbers("threads", threads),
        quick=quick,
        ssh=ssh,
        install=install,
        progress=TerminalProgress(),
    )
    document = palette_document(opened, measured) | {"wall_s": round(time.monotonic() - started, 1)}
    if as_json:
        print_json(document)
    else:
        console.print(palette_table(opened, measured))


def _numbers(name: str, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--{name}: got {text!r}, expected whole numbers with commas between them, as 1,8") from error
