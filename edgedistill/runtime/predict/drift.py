"""How far a device has moved away from its profile: another kernel, another onnxruntime, dust in the fan."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from statistics import median

from edgedistill.palette import DeviceProfile, LatencyPoint
from edgedistill.runtime.sensors import Readings

__all__ = ["Drift", "Drifted", "corrected"]

_KEPT = 500
_FEWEST = 30  # requests of a subnet that speak for it
_QUIET_BELOW = 0.1  # share of the usable cores that others take


@dataclass(frozen=True, slots=True)
class Drifted:
    """Of a subnet's ``requests`` on a quiet machine: the median of their latency over what the profile has."""

    ratio: float
    requests: int


class Drift:
    """Observed over profiled latency, of requests that nothing else slowed down."""

    def __init__(self) -> None:
        self._ratios: dict[str, deque[float]] = {}

    def add(self, subnet: str, ratio: float, readings: Readings) -> None:
        """Of one request, with what the machine said about then."""
        is_quiet = readings.other_load is not None and readings.other_load < _QUIET_BELOW and not readings.throttled
        if is_quiet:
            self._ratios.setdefault(subnet, deque(maxlen=_KEPT)).append(ratio)

    def clear(self) -> None:
        """Another palette is served, with a profile of its own."""
        self._ratios = {}

    @property
    def found(self) -> dict[str, Drifted]:
        """By subnet, of those with enough requests."""
        return {
            name: Drifted(median(ratios), len(ratios))
            for name, ratios in ((name, tuple(kept)) for name, kept in tuple(self._ratios.items()))
            if len(ratios) >= _FEWEST
        }


def corrected(profile: DeviceProfile, drift: Mapping[str, Drifted]) -> DeviceProfile:
    """The profile as the device is now, under the name ``<device>-corrected``: latencies times what was observed.

    A subnet without requests of its own moves as the others did at the median. ``drift`` must not be empty.
    """
    usual = median(found.ratio for found in drift.values())
    ratios = {name: found.ratio for name, found in drift.items()}
    subnets = [
        subnet.model_copy(
            update={"latency": [_scaled(point, ratios.get(subnet.subnet, usual)) for point in subnet.latency]}
        )
        for subnet in profile.subnets
    ]
    device = profile.device.model_copy(update={"name": f"{profile.device.name}-corrected"})
    date = datetime.now(timezone.utc).isoformat(timespec="seconds")
    requests = sum(found.requests for found in drift.values())
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
