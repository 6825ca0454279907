"""``edgedistill profile --compare``: two profiles of a palette side by side."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from edgedistill.cli.output import print_json, standard_output, styled
from edgedistill.errors import InputError
from edgedistill.palette import DeviceProfile, LatencyPoint, Palette, read_profile

__all__ = ["show_comparison"]


def show_comparison(palette: Palette, files: list[Path], *, as_json: bool) -> None:
    """Show the profile in one file next to the palette's own of this machine, or those in two files.

    Raises:
        InputError: there are more than two files, or no profile of this machine to compare with.
        PaletteError: a file cannot be read.
    """
    from edgedistill.runtime.profiles import choose_profile

    if len(files) > 2:
        raise InputError(f"--compare: got {len(files)} files, expected one or two")
    before, *more = (read_profile(file) for file in files)
    after = more[0] if more else choose_profile(palette)
    if after is None:
        raise InputError(
            f"{palette.folder} has no profile of this machine to compare with; run 'edgedistill profile' first"
        )
    rows = list(_rows(before, after))
    if not rows:
        raise InputError(f"{files[0]} and the other have no subnet at the same length, batch and threads")
    ratio = median(row["ratio"] for row in rows)
    if as_json:
        print_json({"median_ratio": round(ratio, 4), "points": rows})
        return
    out = standard_output()
    out.print(_table(rows, before, after))
    out.print(f"the second takes {ratio:.2f} times as long as the first at the median")


def _rows(before: DeviceProfile, after: DeviceProfile) -> list[dict[str, Any]]:
    """Return every point that both have."""
    rows = []
    for subnet in before.subnets:
        other = after.subnet(subnet.subnet)
        points = {_key(point): point for point in (other.latency if other else [])}
        for point in subnet.latency:
            if _key(point) in points:
                rows.append(_row(subnet.subnet, point, points[_key(point)]))
    return rows


def _key(point: LatencyPoint) -> tuple[int, int, int]:
    return point.threads, point.batch, point.tokens


def _row(subnet: str, before: LatencyPoint, after: LatencyPoint) -> dict[str, Any]:
    """Return the row of a point; ``differs``: whether the intervals of the medians do not meet."""
    return {
        "subnet": subnet,
        "threads": before.threads,
        "batch": before.batch,
        "tokens": before.tokens,
        "before_ms": before.p50_ms,
        "after_ms": after.p50_ms,
        "ratio": round(after.p50_ms / before.p50_ms, 4) if before.p50_ms else 1.0,
        "differs": before.high_ms < after.low_ms or after.high_ms < before.low_ms,
    }


def _table(rows: list[dict[str, Any]], before: DeviceProfile, after: DeviceProfile) -> Table:
    title = f"{before.device.name}, {before.conditions.date}, and {after.device.name}, {after.conditions.date}"
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("subnet", no_wrap=True)
    for column in ("threads", "batch", "tokens", "first ms", "second ms", "ratio"):
        table.add_column(column, justify="right")
    for row in rows:
        figures = [f"{row['before_ms']:.2f}", f"{row['after_ms']:.2f}"]
        ratio = f"{row['ratio']:.2f}"
        shown = styled((ratio, "bold" if row["differs"] else ""))
        table.add_row(row["subnet"], *(str(row[key]) for key in ("threads", "batch", "tokens")), *figures, shown)
    return table
