"""``edgedistill extract``: one subnet, as a file or checkpoint that needs nothing of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedistill.cli.common import AsJson, reported
from edgedistill.cli.output import console, print_json
from edgedistill.cli.terminal_progress import TerminalProgress
from edgedistill.workflows import extracting

__all__ = ["extract"]


@reported
def extract(
    supernet: Annotated[Path, typer.Argument(help="The folder that 'edgedistill train' wrote.")],
    subnet: Annotated[str, typer.Argument(help="Its name, as 'search' and 'export' show it; an int8 one ends so.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new file for onnx, a new folder for hf.")],
    kind: Annotated[
        extracting.ExtractFormat,
        typer.Option("--format", help="One ONNX file; or a Hugging Face checkpoint, which transformers loads."),
    ] = "onnx",
    as_json: AsJson = False,
) -> None:
    """Write one subnet on its own, for tools that know nothing of palettes.

    Example: edgedistill extract supernet l4-d384-h12-f768 -o small.onnx

    Example: edgedistill extract writer-supernet l20-d576-h9-f1024 --format hf -o small-writer
    """
    extracting.extract(supernet, subnet, output=output, format=kind, progress=TerminalProgress())
    if as_json:
        print_json({"output": str(output), "subnet": subnet, "format": kind})
    else:
        console.print(f"{output}: {subnet}")
