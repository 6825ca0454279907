"""``edgedistill inspect``: what a palette holds, where it came from, and what is known of it where."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from edgedistill.cli.common import AsJson, reported
from edgedistill.cli.output import print_json, standard_output, styled
from edgedistill.cli.palette_table import palette_document, palette_table
from edgedistill.palette import Manifest, Palette, load
from edgedistill.tasks import task_of

__all__ = ["inspect"]


@reported
def inspect(
    palette: Annotated[Path, typer.Argument(help="The palette's folder.")],
    profiles: Annotated[Path | None, typer.Option(help="Where its profiles lie, if not beside it.")] = None,
    device: Annotated[
        str | None, typer.Option(help="Whose figures to show; default: those nearest to this machine.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a palette's subnets, its files, where it came from, and the devices that it has figures for.

    Example: edgedistill inspect palette --device pi5
    """
    from edgedistill.runtime.profiles import choose_profile

    opened = load(palette, profiles=profiles)
    shown = choose_profile(opened, device)
    if as_json:
        print_json(palette_document(opened, shown) | _origin(opened))
        return
    out = standard_output()
    out.print(palette_table(opened, shown))
    if opened.manifest.subnets[0].calibration is not None:
        out.print(_scores(opened.manifest))
    if opened.manifest.generation is not None:
        out.print(_generation(opened.manifest))
    title = task_of(opened.manifest.task).figures_title
    if title is not None:
        out.print(_figures(opened.manifest, title))
    out.print(_files(opened))
    for name, value in _lines(opened).items():
        out.print(styled((f"{name:>14}", "dim"), f"  {value}"))
    for name, profile in opened.profiles.items():
        origin = f"{profile.kind} on {profile.device.board}, {profile.conditions.date}"
        out.print(styled((f"{name:>14}", "dim"), f"  {origin}"))


def _scores(manifest: Manifest) -> Table:
    """Return how often a swap changes a label, and how far a classifier's scores are from its accuracy."""
    scope = manifest.out_of_scope
    by = "no texts out of scope are known" if scope is None else f"rejection is by {scope.texts:,} texts out of scope"
    title = f"scores; other labels than {manifest.subnets[0].name}'s; {by}"
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("subnet", no_wrap=True)
    for column in ("temperature", "other labels", "calibration error", "before"):
        table.add_column(column, justify="right")
    for entry in manifest.subnets:
        calibration = entry.calibration
        assert calibration is not None
        errors = ["" if value is None else f"{value:.2%}" for value in (calibration.error, calibration.error_before)]
        table.add_row(entry.name, f"{calibration.temperature:.2f}", f"{calibration.flip_rate:.2%}", *errors)
    return table


def _generation(manifest: Manifest) -> Table:
    """Return further figures of members that generate."""
    table = Table(title="generation", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("subnet", no_wrap=True)
    for column in ("perplexity on test", "on validation", "cache KB a token"):
        table.add_column(column, justify="right")
    for entry in manifest.subnets:
        assert entry.cache_bytes_a_token is not None
        values = {quality.split: quality.value for quality in entry.quality if quality.metric == "perplexity"}
        shown = [f"{values[split]:.2f}" if split in values else "" for split in ("test", "validation")]
        table.add_row(entry.name, *shown, f"{entry.cache_bytes_a_token / 1e3:.1f}")
    return table


def _figures(manifest: Manifest, title: str) -> Table:
    """Return every figure of the members; errors are in the unit of the labels."""
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("subnet", no_wrap=True)
    columns = list(dict.fromkeys((q.metric, q.split) for q in manifest.subnets[0].quality))
    for metric, split in columns:
        table.add_column(f"{metric.replace('_', ' ')} on {split}", justify="right")
    for entry in manifest.subnets:
        values = {(q.metric, q.split): q.value for q in entry.quality}
        table.add_row(entry.name, *(f"{values[key]:.4g}" if key in values else "" for key in columns))
    return table


def _files(palette: Palette) -> Table:
    table = Table("file", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("MB", justify="right")
    graphs = {subnet.graph for subnet in palette.manifest.subnets}
    total = 0
    for entry in palette.manifest.files:
        total += entry.size_bytes
        if entry.name not in graphs:
            table.add_row(entry.name, f"{entry.size_bytes / 1e6:.2f}")
    of_graphs = sum(entry.size_bytes for entry in palette.manifest.files if entry.name in graphs)
    table.add_row(f"{len(graphs)} graphs", f"{of_graphs / 1e6:.2f}")
    table.add_row("all", f"{total / 1e6:.2f}")
    return table


def _lines(palette: Palette) -> dict[str, str]:
    """Return the lines below the tables."""
    manifest, origin = palette.manifest, palette.manifest.provenance
    labels = f", {len(manifest.labels)} labels" if manifest.labels else ""
    revision = f" at {origin.base_revision}" if origin.base_revision else ""
    return {
        "task": f"{manifest.task}{labels}; texts of up to {manifest.max_tokens} tokens",
        "model": f"{origin.base_model}{revision}",
        "data": " and ".join(filter(None, [origin.data, origin.unlabelled])),
        "made with": ", ".join(f"{name} {version}" for name, version in sorted(origin.versions.items())),
        "digest": manifest.digest,
    }


def _origin(palette: Palette) -> dict[str, Any]:
    manifest = palette.manifest
    return {
        "schema_version": manifest.schema_version,
        "task": manifest.task,
        "labels": manifest.labels,
        "provenance": manifest.provenance.model_dump(mode="json"),
        "digest": manifest.digest,
        "generation": None if manifest.generation is None else manifest.generation.model_dump(),
        "out_of_scope": None if manifest.out_of_scope is None else manifest.out_of_scope.model_dump(),
        "calibration": {
            entry.name: entry.calibration.model_dump() for entry in manifest.subnets if entry.calibration is not None
        },
        "quality": {entry.name: [quality.model_dump() for quality in entry.quality] for entry in manifest.subnets},
        "files": [entry.model_dump() for entry in manifest.files],
        "devices": {name: profile.kind for name, profile in palette.profiles.items()},
    }
