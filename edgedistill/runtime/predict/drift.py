"""Measure how far a device has drifted from its profile: another kernel or onnxruntime, dust in the fan."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from statistics import median

from edgedistill.palette import DeviceProfile, LatencyPoint
from edgedistill.runtime.sensors import Readings

__all__ = ["Drift", "Drifted", "corrected"]

_MAX_RATIOS = 500
_MIN_REQUESTS = 30  # of a subnet, for its drift to count
_QUIET_BELOW = 0.1  # share of the usable cores that others take


@dataclass(frozen=True, slots=True)
class Drifted:
    """Hold the median ratio of observed to profiled latency, over ``requests`` on a quiet machine."""

    ratio: float
    requests: int


class Drift:
    """Collect ratios of observed to profiled latency on the quiet machine."""

    def __init__(self) -> None:
        self._ratios: dict[str, deque[float]] = {}

    def add(self, subnet: str, ratio: float, readings: Readings) -> None:
        """Add a request's ratio, if the readings show a quiet machine."""
        is_quiet = readings.other_load is not None and readings.other_load < _QUIET_BELOW and not readings.throttled
        if is_quiet:
            self._ratios.setdefault(subnet, deque(maxlen=_MAX_RATIOS)).append(ratio)

    def clear(self) -> None:
        """Forget all ratios: another palette has a profile of its own."""
        self._ratios = {}

    @property
    def by_subnet(self) -> dict[str, Drifted]:
        """Return the drift of each subnet with enough requests."""
        return {
            name: Drifted(median(ratios), len(ratios))
            for name, ratios in ((name, tuple(ratios)) for name, ratios in tuple(self._ratios.items()))
            if len(ratios) >= _MIN_REQUESTS
        }


def corrected(profile: DeviceProfile, drift: Mapping[str, Drifted]) -> DeviceProfile:
    """Return a profile named ``<device>-corrected``, with latencies multiplied by the observed ratios.

    A subnet without requests of its own gets the median ratio of the others. ``drift`` must not be empty.
    """
    usual = median(drifted.ratio for drifted in drift.values())
    ratios = {name: drifted.ratio for name, drifted in drift.items()}
    subnets = [
        subnet.model_copy(
            update={"latency": [_scaled(point, ratios.get(subnet.subnet, usual)) for point in subnet.latency]}
        )
        for subnet in profile.subnets
    ]
    device = profile.device.model_copy(update={"name": f"{profile.device.name}-corrected"})
    date = datetime.now(timezone.utc).isoformat(timespec="seconds")
    requests = sum(drifted.requests for drifted in drift.values())
    return profile.model_copy(
        update={
            "device": device,
            "conditions": profile.conditions.model_copy(update={"date": date}),
            "method": f"{profile.method}; latencies corrected by {requests} requests on a quiet machine",
            "subnets": subnets,
        }
    )


def _scaled(point: LatencyPoint, ratio: float) -> LatencyPoint:
    names = ("p50_ms", "low_ms", "high_ms", "p95_ms", "p99_ms")
    return point.model_copy(update={name: round(getattr(point, name) * ratio, 4) for name in names})
