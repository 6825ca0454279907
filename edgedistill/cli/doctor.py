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
    palette: Annotated[Path | None, typer.Argument(help="A palette's folder, to check as well.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check this machine, and a palette on it: what is present, what is wrong, and the command that fixes it.

    The exit code is 1 if something keeps EdgeDistill from running.

    Example: edgedistill doctor palette
    """
    from edgedistill.runtime.doctor import examine

    results = list(examine(palette))
    if as_json:
        print_json(_document(palette, results))
    else:
        _show(results)
    fatal = [result for result in results if result.fatal]
    if fatal:
        first = fatal[0]
        more = f" (and {len(fatal) - 1} more)" if len(fatal) > 1 else ""
        raise EdgeDistillError(f"{first.name}: {first.finding.summary}{more}; {first.finding.fix}")


def _document(palette: Path | None, results: list[CheckResult]) -> dict[str, Any]:
    return {
        "palette": None if palette is None else str(palette),
        "runs": not any(result.fatal for result in results),
        "checks": [{"name": result.name, **asdict(result.finding), "fatal": result.fatal} for result in results],
    }


def _show(results: list[CheckResult]) -> None:
    table = Table("check", "", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("found", overflow="fold")
    for result in results:
        table.add_row(result.name, styled(_mark(result)), result.finding.summary)
    out = standard_output()
    out.print(table)
    for result in results:
        if result.finding.fix is not None:
            out.print(styled(_mark(result), f" {result.name}:"))
            # On a line of its own, and not broken, to be copied.
            out.print(f"  {result.finding.fix}", soft_wrap=True)


def _mark(result: CheckResult) -> tuple[str, str]:
    """Return a check's state and its colour."""
    return result.finding.state, _COLOURS[result.finding.state]
