"""``edgedistill doctor``: what keeps EdgeDistill from running on this machine, or from running well."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from edgedistill.cli.common import AsJson, reported
from edgedistill.cli.output import print_json, standard_output, styled
from edgedistill.errors import EdgeDistillError

if TYPE_CHECKING:
    from edgedistill.runtime.doctor import CheckResult

__all__ = ["doctor"]

_COLOURS = {"ok": "green", "note": "yellow", "problem": "red"}


@reported
def doctor(
    palette: Annotated[Path | None, typer.Argument(help="A palette's folder, to look at too.")] = None,
    as_json: AsJson = False,
) -> None:
    """Look at this machine, and at a palette on it: what is there, what is wrong, and the command that mends it.

    The exit code is 1 where something keeps EdgeDistill from running.

    Example: edgedistill doctor palette
    """
    from edgedistill.runtime.doctor import examine

    checked = list(examine(palette))
    if as_json:
        print_json(_document(palette, checked))
    else:
        _show(checked)
    fatal = [one for one in checked if one.fatal]
    if fatal:
        first = fatal[0]
        more = f" (and {len(fatal) - 1} more)" if len(fatal) > 1 else ""
        raise EdgeDistillError(f"{first.name}: {first.finding.found}{more}; {first.finding.fix}")


def _document(palette: Path | None, checked: list[CheckResult]) -> dict[str, Any]:
    return {
        "palette": None if palette is None else str(palette),
        "runs": not any(one.fatal for one in checked),
        "checks": [{"name": one.name, **asdict(one.finding), "fatal": one.fatal} for one in checked],
    }


def _show(checked: list[CheckResult]) -> None:
    table = Table("check", "", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("found", overflow="fold")
    for one in checked:
        table.add_row(one.name, styled(_mark(one)), one.finding.found)
    out = standard_output()
    out.print(table)
    for one in checked:
        if one.finding.fix is not None:
            out.print(styled(_mark(one), f" {one.name}:"))
            # On a line of its own, and not broken, to be copied.
            out.print(f"  {one.finding.fix}", soft_wrap=True)


def _mark(one: CheckResult) -> tuple[str, str]:
    """Return a check's state and its colour."""
    return one.finding.state, _COLOURS[one.finding.state]
