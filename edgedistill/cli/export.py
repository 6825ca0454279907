"""``edgedistill export``: a supernet in, a palette out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgedistill.cli.common import AsJson, reported
from edgedistill.cli.output import console, print_json
from edgedistill.cli.palette_table import palette_document, palette_table
from edgedistill.cli.search import Count, MaxLatency, MaxMemory, Profiled, Tokens
from edgedistill.cli.terminal_progress import TerminalProgress
from edgedistill.tasks import task_of
from edgedistill.workflows import exporting

if TYPE_CHECKING:
    from edgedistill.palette import Palette

__all__ = ["export"]


@reported
def export(
    supernet: Annotated[Path, typer.Argument(help="The folder that 'edgedistill train' wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The palette's folder; replaced as a whole.")],
    data: Annotated[str | None, typer.Option(help="Where the training data are now, if they moved.")] = None,
    unlabelled: Annotated[Path | None, typer.Option(help="Where the texts without labels are now.")] = None,
    count: Count = 8,
    max_latency_ms: MaxLatency = None,
    max_memory_mb: MaxMemory = None,
    tokens: Tokens = 64,
    profiled_palette: Profiled = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            help="Of each subnet's graph: fp32, int8, of a decoder int4 too; may be repeated. Default: all there are."
        ),
    ] = None,
    keep_fp32: Annotated[
        list[str] | None,
        typer.Option(help="Leave this part out of int8 and int4: embeddings, layers.0, ...; may be repeated."),
    ] = None,
    out_of_scope: Annotated[
        Path | None,
        typer.Option(
            help="Texts that a classifier should reject, one a line, so that it can, by the same share whichever "
            "subnet answers. A thousand or more, some near the task's own."
        ),
    ] = None,
    add: Annotated[
        list[str] | None,
        typer.Option(help="Add this subnet to the palette that is there, and change nothing else; may be repeated."),
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(help="Take this subnet out of the palette that is there; may be repeated.")
    ] = None,
    vocabulary: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Keep this many tokens (those of the training texts in any case, then the tokenizer's first, which "
            "are the common ones), and what spells out any other word. Default: all.",
        ),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(
            help="Add a board's estimate; may be repeated. The first one's costs choose the family. "
            "With --profiled-palette: the device whose figures choose it."
        ),
    ] = None,
    measure: Annotated[bool, typer.Option("--profile/--no-profile", help="Measure this machine.")] = True,
    as_json: AsJson = False,
) -> None:
    """Choose a family of subnets, write it as a palette, and profile it on this machine.

    Example: edgedistill export supernet -o palette --device pi5
    """
    started = time.monotonic()
    result = exporting.export(
        supernet,
        output=output,
        data=data,
        unlabelled=unlabelled,
        count=count,
        max_latency_ms=max_latency_ms,
        max_memory_mb=max_memory_mb,
        tokens=tokens,
        profiled_palette=profiled_palette,
        precisions=precision or (),
        keep_fp32=keep_fp32 or (),
        out_of_scope=out_of_scope,
        add=add or (),
        drop=drop or (),
        vocabulary=vocabulary,
        devices=device or (),
        profile=measure,
        progress=TerminalProgress(),
    )
    if as_json:
        document = palette_document(result.palette, result.profile)
        print_json(document | {"wall_s": round(time.monotonic() - started, 1)})
    else:
        console.print(palette_table(result.palette, result.profile))
        console.print(f"Next: {_next_command(result.palette)}")


def _next_command(palette: Palette) -> str:
    """Return what to try with the palette: a command, and the class that answers from Python."""
    arguments = "'a text'" if palette.manifest.text_input.texts == 1 else "--pair 'a text' 'another text'"
    if palette.manifest.generation is not None:
        arguments = "--prompt 'a text that goes on'"
    pipeline, _ = task_of(palette.manifest.task).answered_by
    return f"edgedistill run {palette.folder} {arguments} (in Python: edgedistill.runtime.{pipeline})"
