"""``edgedistill verify``: check that a palette is whole, and works here as it did at export."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from edgedistill.cli.common import AsJson, Digest, reported
from edgedistill.cli.output import print_json, standard_output, styled
from edgedistill.cli.terminal_progress import TerminalProgress
from edgedistill.errors import PaletteError
from edgedistill.palette import load
from edgedistill.workflows.progress import work

__all__ = ["verify"]


@reported
def verify(
    palette: Annotated[Path, typer.Argument(help="The palette's folder.")],
    digest: Digest = None,
    as_json: AsJson = False,
) -> None:
    """Check every file's hash, load every subnet, and compare its answers with those recorded at the export.

    The exit code is 1 if a file was altered, or a subnet does not load or gives other answers.

    Example: edgedistill verify palette
    """
    from edgedistill.runtime.verification import verify as check

    opened = load(palette, digest=digest)
    results = []
    with work(TerminalProgress(), "verifying", len(opened.manifest.subnets)) as verifying:
        for result in check(opened):
            results.append(result)
            verifying.advance()
    faults = [f"{result.subnet}: {result.fault}" for result in results if result.fault is not None]
    if as_json:
        files = len(opened.manifest.files)
        print_json({"palette": str(palette), "files": files, "subnets": [asdict(result) for result in results]})
    else:
        table = Table("subnet", "difference", "", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for result in results:
            gap = "" if result.difference is None else f"{result.difference:.1e}"
            table.add_row(result.subnet, gap, styled(("✓", "green") if result.fault is None else ("✗", "red")))
        standard_output().print(table)
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise PaletteError(f"{faults[0]}{more}; export the palette again, or report it with this machine's processor")
