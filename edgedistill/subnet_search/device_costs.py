"""Predict a subnet's cost on a device, from a profile measured there or from an estimate, with its error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edgedistill.architecture import Architecture, Subnet
from edgedistill.device_profiles import Board, estimate_subnet
from edgedistill.device_profiles.cost_model import CostModel, MeasuredLatency, PassWork, fit_line
from edgedistill.errors import SearchError
from edgedistill.palette import DeviceProfile, Palette

__all__ = ["Cost", "DeviceCosts", "EstimatedCosts", "FittedCosts"]

_MIN_MEASURED = 4  # subnets, each of which is predicted from the others


@dataclass(frozen=True, slots=True)
class Cost:
    """Hold the cost of one run at batch 1: milliseconds, and resident megabytes."""

    latency_ms: float
    memory_mb: float


class DeviceCosts(Protocol):
    """Predict the cost of any subnet on one device, in fp32."""

    source: str

    def predict(self, subnet: Subnet) -> Cost:
        """Return the cost of a subnet."""


class EstimatedCosts:
    """Estimate costs by the roofline of a board's data sheet; never checked on the board."""

    def __init__(self, arch: Architecture, board: Board, tokens: int) -> None:
        self._arch, self._board, self._tokens = arch, board, tokens
        self.source = f"estimated for {board.title}, never checked there"

    def predict(self, subnet: Subnet) -> Cost:
        """Return the cost by the roofline."""
        return Cost(*estimate_subnet(self._arch, subnet, self._board, tokens=self._tokens))


class FittedCosts:
    """Fit costs to the work of a pass, from the members of a palette that were measured on the device.

    ``error`` is the relative error for a member that the fit left out.

    Raises:
        SearchError: the profile holds fewer than four members in fp32.
    """

    def __init__(self, arch: Architecture, palette: Palette, profile: DeviceProfile, tokens: int) -> None:
        self._arch, self._tokens = arch, tokens
        entries = [entry for entry in palette.manifest.subnets if entry.precision == "fp32"]
        profiles = [(entry.config, profile.subnet(entry.name)) for entry in entries]
        fp32 = {subnet: figures for subnet, figures in profiles if figures is not None}
        exact = {subnet: figures for subnet, figures in fp32.items() if any(point.samples for point in figures.latency)}
        if len(exact) < _MIN_MEASURED:
            raise SearchError(
                f"the profile {profile.device.name!r} has {len(exact)} subnets in fp32, expected {_MIN_MEASURED} or "
                "more: export and profile a larger palette"
            )
        self._model = CostModel.fit(
            [
                MeasuredLatency(self._work(subnet), point.batch, point.tokens, point.p50_ms)
                for subnet, measured in exact.items()
                for point in measured.latency
                if point.samples and point.threads == profile.conditions.threads
            ]
        )
        weights = [float(arch.layer_parameters(subnet)) for subnet in exact]
        self._memory = fit_line(weights, [measured.peak_mb for measured in exact.values()])
        self.error = self._model.error
        self.source = (
            f"the work of {len(exact)} subnets measured on {profile.device.board}, "
            f"off by {self.error:.0%} of one that it was not fitted to"
        )

    def predict(self, subnet: Subnet) -> Cost:
        """Return the model's prediction, even for a measured subnet, so that all are on one scale."""
        start, slope = self._memory
        return Cost(
            round(self._model.ms(self._work(subnet), 1, self._tokens), 3),
            round(start + slope * self._arch.layer_parameters(subnet), 1),
        )

    def _work(self, subnet: Subnet) -> PassWork:
        attention_macs = float(self._arch.attention_macs(subnet, tokens=1))
        return PassWork.of(subnet, self._arch.layer_parameters(subnet), attention_macs)
