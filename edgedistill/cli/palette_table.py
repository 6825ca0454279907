"""A palette as a table, and as a JSON document."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from edgedistill.palette import DeviceProfile, Palette, SubnetEntry
from edgedistill.workflows.figures import ERROR_TITLE, error_in, figures_of

__all__ = ["palette_document", "palette_table"]

_SHOWN_TOKENS = 16


def palette_table(palette: Palette, profile: DeviceProfile | None) -> Table:
    """Return a row a subnet, largest first; latency and memory where there is a profile. Fits 80 columns."""
    where = "" if profile is None else f"; {_kind(profile)} on {profile.device.board} at {_SHOWN_TOKENS} tokens"
    metric = _metric(palette).replace("_", " ")
    table = Table(title=f"{metric} on test{where}", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("subnet", no_wrap=True)
    measured = ("p50 ms", "p95 ms", "memory MB") if profile else ()
    has_errors = error_in(figures_of(palette.manifest.subnets[0], "test")) is not None
    for column in ("layer params", "total params", "MB", metric, *((ERROR_TITLE,) if has_errors else ()), *measured):
        table.add_column(column, justify="right")
    for entry in palette.manifest.subnets:
        record = _subnet_record(entry, profile)
        figures = (
            [f"{record['p50_ms']:.2f}", f"{record['p95_ms']:.2f}", f"{record['memory_mb']:.0f}"] if profile else []
        )
        table.add_row(
            entry.name,
            f"{entry.layer_parameters / 1e6:.2f} M",
            f"{entry.total_parameters / 1e6:.1f} M",
            f"{entry.size_mb:.1f}",
            f"{record[_metric(palette)]:.2%}",
            *([f"{error_in(record):.4g}"] if has_errors else []),
            *figures,
        )
    return table


def _kind(profile: DeviceProfile) -> str:
    kinds = {"measured": "measured", "quick": "measured or predicted", "estimated": "estimated"}
    return f"{'EMULATED, ' if profile.device.emulated else ''}{kinds[profile.kind]}"


def _metric(palette: Palette) -> str:
    """Return the name of the palette's headline metric."""
    return palette.manifest.subnets[0].metric("test")


def _subnet_record(entry: SubnetEntry, profile: DeviceProfile | None) -> dict[str, Any]:
    """Return one subnet for the JSON documents; latency at 16 tokens, batch 1."""
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
    costs = profile.subnet(entry.name) if profile else None
    point = costs.latency_at(_SHOWN_TOKENS) if costs else None
    record["p50_ms"] = round(point.p50_ms, 3) if point else None
    record["p95_ms"] = round(point.p95_ms, 3) if point else None
    record["low_ms"] = round(point.low_ms, 3) if point else None
    record["high_ms"] = round(point.high_ms, 3) if point else None
    record["samples"] = point.samples if point else None
    record["memory_mb"] = round(costs.peak_mb, 1) if costs else None
    return record


def palette_document(palette: Palette, profile: DeviceProfile | None) -> dict[str, Any]:
    """Return a palette and one profile of it as a JSON document."""
    return {
        "palette": str(palette.folder),
        "subnets": [_subnet_record(entry, profile) for entry in palette.manifest.subnets],
        "profile": None
        if profile is None
        else {
            "kind": profile.kind,
            "device": profile.device.model_dump(),
            "conditions": profile.conditions.model_dump(mode="json"),
        },
    }
