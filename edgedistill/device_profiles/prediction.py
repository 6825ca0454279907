"""Predict the latencies that a quick profile did not measure from those that it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from edgedistill.device_profiles.cost_model import CostModel, MeasuredLatency, PassWork, to_nanoseconds
from edgedistill.device_profiles.measurement_plan import MeasurementPlan
from edgedistill.palette import LatencyPoint, Palette, SubnetEntry

__all__ = ["complete_latencies"]


def complete_latencies(
    palette: Palette, plan: MeasurementPlan, measured: Mapping[str, Sequence[LatencyPoint]]
) -> dict[str, list[LatencyPoint]]:
    """Return the latencies of each subnet at all shapes and threads of the plan, measured ones unchanged."""
    entries = palette.manifest.subnets
    if len(measured) == len(entries) and plan.measured_shapes == plan.shapes:
        return {entry.name: list(measured[entry.name]) for entry in entries}
    latencies: dict[str, list[LatencyPoint]] = {}
    for precision in {entry.precision for entry in entries}:
        same_precision = [entry for entry in entries if entry.precision == precision]
        guess = _Guess(same_precision, measured, len(palette.manifest.labels))
        for entry in same_precision:
            latencies[entry.name] = guess.latency(entry.name, measured.get(entry.name, ()), plan)
    return {entry.name: latencies[entry.name] for entry in entries}


class _Guess:
    """Predict latencies of one precision by models fitted to its measured subnets."""

    def __init__(
        self, entries: Sequence[SubnetEntry], measured: Mapping[str, Sequence[LatencyPoint]], outputs: int
    ) -> None:
        self._works = {entry.name: PassWork.of_entry(entry, outputs) for entry in entries}
        points = [(entry.name, point) for entry in entries for point in measured.get(entry.name, ())]
        self._models = {
            threads: CostModel.fit(
                [
                    MeasuredLatency(self._works[name], point.batch, point.tokens, point.p50_ms)
                    for name, point in points
                    if point.threads == threads
                ]
            )
            for threads in {point.threads for _, point in points}
        }
        self._measured_width = median((point.high_ms - point.low_ms) / 2 / point.p50_ms for _, point in points)
        self._tail_95 = median(point.p95_ms / point.p50_ms for _, point in points)
        self._tail_99 = median(point.p99_ms / point.p50_ms for _, point in points)

    def latency(self, name: str, measured: Sequence[LatencyPoint], plan: MeasurementPlan) -> list[LatencyPoint]:
        """Return the points of one subnet: measured where possible, predicted elsewhere."""
        by_shape = {(point.threads, point.batch, point.tokens): point for point in measured}
        return [
            by_shape.get((threads, batch, tokens)) or self._point(name, threads, batch, tokens)
            for threads in plan.threads
            for batch, tokens in plan.shapes
        ]

    def _point(self, name: str, threads: int, batch: int, tokens: int) -> LatencyPoint:
        model = self._models[threads]
        p50_ms = model.ms(self._works[name], batch, tokens)
        # A prediction is never more certain than its measurements, however well these happen to fit.
        width = max(model.reach, self._measured_width)
        figures = {
            "p50_ms": p50_ms,
            "low_ms": p50_ms * max(0.0, 1 - width),
            "high_ms": p50_ms * (1 + width),
            "p95_ms": p50_ms * self._tail_95,
            "p99_ms": p50_ms * self._tail_99,
        }
        return LatencyPoint(threads=threads, batch=batch, tokens=tokens, samples=0, **to_nanoseconds(figures))
