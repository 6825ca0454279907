"""The schema of device profiles: ``profiles/<device>.json``, one a device, outside the manifest."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from edgedistill.palette.values import Count, Finite, Items, Positive, StrictModel

__all__ = ["PROFILE_VERSION", "Conditions", "DeviceInfo", "DeviceProfile", "LatencyPoint", "SubnetProfile"]

PROFILE_VERSION: Final = 7


class DeviceInfo(StrictModel):
    """Describe the machine of a profile. ``memory_mb`` is all of its memory.

    ``emulated``: the machine emulates the programs, so its latencies predict no device.
    """

    name: str
    board: str
    cpu: str
    cores: Positive
    memory_mb: Finite
    system: str
    onnxruntime: str
    provider: str
    emulated: bool = False


class Conditions(StrictModel):
    """Record the conditions of a measurement.

    ``threads``: the first of the numbers that were asked for. ``other_load``: share of all cores that others used, 0
    to 1. ``kept_pace``: share of the timed runs about which the processor was as fast as at its best, 0 to 1; of these
    are the latencies, as far as there were enough. ``temperature_c`` and ``clock_mhz``: before and after.
    ``throttled``: whether the processor was slowed down meanwhile. None where the machine does not tell.
    """

    threads: Positive
    date: str
    quiet: bool
    other_load: Finite
    kept_pace: Finite | None = None
    temperature_c: tuple[float, float] | None = None
    clock_mhz: tuple[Finite, Finite] | None = None
    throttled: bool | None = None


class LatencyPoint(StrictModel):
    """Latency of one ``run`` for a batch of sequences of ``tokens`` tokens on ``threads`` threads.

    ``low_ms`` and ``high_ms``: where the median lies, with 95 % confidence where it was measured, and 90 % where it was
    predicted, which is where there are no ``samples``.
    """

    threads: Positive
    batch: Positive
    tokens: Positive
    p50_ms: Finite
    low_ms: Finite
    high_ms: Finite
    p95_ms: Finite
    p99_ms: Finite
    samples: Count


class SubnetProfile(StrictModel):
    """One subnet on the device. ``peak_mb`` and ``steady_mb``: resident memory above that before loading.

    ``with_smallest_mb``: the peak of both, where the profile's smallest subnet is in the same process. Weights that
    two subnets share are in memory once, so that it is less than the sum of two. ``load_ms``: with the files in the
    page cache; ``cold_load_ms``: without. ``predicted``: memory and load times are not measured but lie on a line
    through those that are.
    """

    subnet: str
    latency: Annotated[Items[LatencyPoint], Field(min_length=1)]
    load_ms: Finite
    cold_load_ms: Finite
    peak_mb: Finite
    steady_mb: Finite
    with_smallest_mb: Finite
    predicted: bool = False

    def latency_at(self, tokens: int) -> LatencyPoint:
        """Return the point of the nearest length, the longer of two, for the smallest batch and first thread count."""
        batch, threads = min(point.batch for point in self.latency), self.latency[0].threads
        own = [point for point in self.latency if point.batch == batch and point.threads == threads]
        return min(own, key=lambda point: (abs(point.tokens - tokens), -point.tokens))


class DeviceProfile(StrictModel):
    """Latency and memory of a palette's subnets on one device: measured there, or estimated for it.

    ``kind``: "quick" is measured for a few subnets and lengths, and predicted from those for the others.

    ``manifest_digest`` says which palette it is of; a profile of another palette is not used. ``smallest``: the
    fastest subnet, which `SubnetProfile.with_smallest_mb` speaks of.
    """

    schema_version: Literal[7]
    kind: Literal["measured", "quick", "estimated"]
    method: str
    manifest_digest: str
    device: DeviceInfo
    conditions: Conditions
    smallest: str
    subnets: Items[SubnetProfile]

    def subnet(self, name: str) -> SubnetProfile | None:
        """Return that subnet's figures; None where the profile has none."""
        return next((s for s in self.subnets if s.subnet == name), None)
