"""What a subnet costs on a device: from a profile measured there, else estimated; and how far either is trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from scipy.optimize import nnls

from edgedistill.device_profiles import Board, estimate_subnet
from edgedistill.errors import SearchError
from edgedistill.manifest import DeviceProfile, Palette
from edgedistill.subnet import Architecture, SubnetConfig

__all__ = ["Cost", "CostModel", "Estimated", "Fitted"]

_LEAST = 4  # measured subnets; a line through three figures has three unknowns


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one run of one sequence, batch 1: milliseconds, and resident megabytes."""

    latency_ms: float
    memory_mb: float


class CostModel(Protocol):
    """Any subnet's cost on one device, in fp32."""

    source: str

    def of(self, subnet: SubnetConfig) -> Cost:
        """What it costs there."""


class Estimated:
    """By the roofline of a board's data sheet; never checked on the board."""

    def __init__(self, arch: Architecture, board: Board, tokens: int) -> None:
        self._arch, self._board, self._tokens = arch, board, tokens
        self.source = f"estimated for {board.title}, never checked there"

    def of(self, subnet: SubnetConfig) -> Cost:
        """The roofline's."""
        return Cost(*estimate_subnet(self._arch, subnet, self._board, tokens=self._tokens))


class Fitted:
    """A line through the members of a palette that were measured on the device.

    Latency is a start, a part for each layer and one for each multiply-accumulate; memory a start and a part for
    each byte of the layers' matrices; none is negative. ``error`` is the largest error of a member that the line
    was fitted without, as a share of its latency.

    Raises:
        SearchError: the profile holds fewer than four members in fp32.
    """

    def __init__(self, arch: Architecture, palette: Palette, profile: DeviceProfile, tokens: int) -> None:
        self._arch, self._tokens = arch, tokens
        found = [(entry.config, profile.subnet(entry.name)) for entry in palette.manifest.subnets]
        exact = {s: p for s, p in found if p is not None and p.precision == "fp32"}
        if len(exact) < _LEAST:
            raise SearchError(
                f"the profile {profile.device.name!r} has {len(exact)} subnets in fp32, expected {_LEAST} or more: "
                "export and profile a larger palette"
            )
        points = [
            _Point(subnet, point.tokens, point.p50_ms)
            for subnet, measured in exact.items()
            for point in measured.latency
            if point.batch == 1
        ]
        self._latency = self._line(points)
        self._memory = nnls(
            np.array([self._memory_features(subnet) for subnet in exact]),
            np.array([measured.peak_mb for measured in exact.values()]),
        )[0]
        self.error = max(self._error_without(subnet, points) for subnet in exact)
        self.source = (
            f"a line through {len(exact)} subnets measured on {profile.device.board}, "
            f"off by at most {self.error:.0%} of one that it was not fitted to"
        )

    def of(self, subnet: SubnetConfig) -> Cost:
        """The line's, whether or not this subnet was measured: one scale for all."""
        return Cost(
            round(float(self._latency @ self._features(subnet, self._tokens)), 3),
            round(float(self._memory @ self._memory_features(subnet)), 1),
        )

    def _features(self, subnet: SubnetConfig, tokens: int) -> np.ndarray:
        return np.array([1.0, len(subnet.layers), self._arch.macs(subnet, tokens=tokens) / 1e6])

    def _memory_features(self, subnet: SubnetConfig) -> np.ndarray:
        return np.array([1.0, self._arch.layer_parameters(subnet) / 1e6])

    def _line(self, points: Sequence[_Point]) -> np.ndarray:
        """Weighted by 1/latency: a tenth of a small one is as wrong as a tenth of a large one."""
        features = np.array([self._features(point.subnet, point.tokens) / point.ms for point in points])
        return np.asarray(nnls(features, np.ones(len(points)))[0])

    def _error_without(self, subnet: SubnetConfig, points: Sequence[_Point]) -> float:
        """The largest relative error on a subnet's points of a line that has not seen them."""
        line = self._line([point for point in points if point.subnet != subnet])
        own = [point for point in points if point.subnet == subnet]
        return max(abs(float(line @ self._features(subnet, point.tokens)) / point.ms - 1) for point in own)


class _Point(NamedTuple):
    """One measured latency."""

    subnet: SubnetConfig
    tokens: int
    ms: float
