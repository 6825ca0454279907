"""What was not measured, from what was: the rest of a quick profile."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from edgedistill.device_profiles.cost_model import CostModel, Measured, Work, line
from edgedistill.device_profiles.plan import Plan
from edgedistill.manifest import LatencyPoint, Palette, SubnetEntry, SubnetProfile

__all__ = ["completed"]

_WEIGHT_BYTES = {"fp32": 4, "int8": 1}


def completed(palette: Palette, plan: Plan, measured: Sequence[SubnetProfile]) -> list[SubnetProfile]:
    """Of every subnet of the palette, every shape and number of threads of the plan; what is measured as it is."""
    known = {subnet.subnet: subnet for subnet in measured}
    whole = len(known) == len(palette.manifest.subnets) and plan.measured_shapes == plan.shapes
    if whole:
        return [known[entry.name] for entry in palette.manifest.subnets]
    found: dict[str, SubnetProfile] = {}
    for precision in {entry.precision for entry in palette.manifest.subnets}:
        entries = [entry for entry in palette.manifest.subnets if entry.precision == precision]
        guess = _Guess(entries, known, len(palette.manifest.labels))
        found |= {entry.name: guess.subnet(entry, known.get(entry.name), plan) for entry in entries}
    return [found[entry.name] for entry in palette.manifest.subnets]


class _Guess:
    """Models of one precision, through its measured subnets."""

    def __init__(self, entries: Sequence[SubnetEntry], known: dict[str, SubnetProfile], outputs: int) -> None:
        self._works = {entry.name: Work.of_entry(entry, outputs) for entry in entries}
        own = [(entry, known[entry.name]) for entry in entries if entry.name in known]
        points = [(entry.name, point) for entry, subnet in own for point in subnet.latency]
        self._models = {
            threads: CostModel.fit(
                [
                    Measured(self._works[name], point.batch, point.tokens, point.p50_ms)
                    for name, point in points
                    if point.threads == threads
                ]
            )
            for threads in {point.threads for _, point in points}
        }
        self._tail_95 = median(point.p95_ms / point.p50_ms for _, point in points)
        self._tail_99 = median(point.p99_ms / point.p50_ms for _, point in points)
        weights_mb = [_weights_mb(entry) for entry, _ in own]
        self._lines = {
            field: line(weights_mb, [max(1e-3, getattr(subnet, field)) for _, subnet in own])
            for field in ("load_ms", "cold_load_ms", "peak_mb", "steady_mb", "with_smallest_mb")
        }

    def subnet(self, entry: SubnetEntry, known: SubnetProfile | None, plan: Plan) -> SubnetProfile:
        """As it was measured, as far as it was."""
        measured = {} if known is None else {(p.threads, p.batch, p.tokens): p for p in known.latency}
        latency = [
            measured.get((threads, batch, tokens)) or self._point(entry.name, threads, batch, tokens)
            for threads in plan.threads
            for batch, tokens in plan.shapes
        ]
        if known is not None:
            return known.model_copy(update={"latency": latency})
        figures = {field: round(start + slope * _weights_mb(entry), 3) for field, (start, slope) in self._lines.items()}
        return SubnetProfile(subnet=entry.name, precision=entry.precision, latency=latency, predicted=True, **figures)

    def _point(self, name: str, threads: int, batch: int, tokens: int) -> LatencyPoint:
        model = self._models[threads]
        p50_ms = model.ms(self._works[name], batch, tokens)
        figures = {
            "p50_ms": p50_ms,
            "low_ms": p50_ms * max(0.0, 1 - model.reach),
            "high_ms": p50_ms * (1 + model.reach),
            "p95_ms": p50_ms * self._tail_95,
            "p99_ms": p50_ms * self._tail_99,
        }
        rounded = {name: round(ms, 4) for name, ms in figures.items()}
        return LatencyPoint(threads=threads, batch=batch, tokens=tokens, samples=0, **rounded)


def _weights_mb(entry: SubnetEntry) -> float:
    return _WEIGHT_BYTES[entry.precision] * entry.layer_parameters / 1e6
