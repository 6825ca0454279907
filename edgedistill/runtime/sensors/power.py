"""Read the power supply, the battery and the power mode."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from edgedistill.runtime.kernel_files import read_number, read_text
from edgedistill.runtime.sensors.cached_value import CachedValue

__all__ = ["PowerModeSensor", "Supply", "SupplySensor", "power_modes"]

_MODE = re.compile(r"pmode: *0*(\d+)")
_MODE_NAME = re.compile(r"^< *POWER_MODEL +ID=0*(\d+) +NAME=([^ >]+)", re.MULTILINE)


class Supply(NamedTuple):
    """Hold whether the machine runs on battery, and the charge left, 0 to 1."""

    on_battery: bool | None = None
    battery_share: float | None = None


class _Supplies(NamedTuple):
    batteries: list[Path]
    others: list[Path]


class SupplySensor:
    """Read the machine's batteries and other supplies."""

    def __init__(self, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self._supplies = CachedValue(partial(_supplies, root), clock)

    def read(self) -> Supply:
        """Return the state of the supplies; the charge is the mean of several batteries."""
        batteries, others = self._supplies()
        percents = [p for battery in batteries if (p := read_number(battery / "capacity")) is not None]
        share = min(1.0, max(0.0, sum(percents) / len(percents) / 100)) if percents else None
        return Supply(_on_battery(batteries, others), share)


def _supplies(root: Path) -> _Supplies:
    supplies = _Supplies([], [])
    for folder in sorted((root / "sys/class/power_supply").glob("*")):
        if _stripped(folder / "scope") == "Device":  # a mouse or a pen has a battery too
            continue
        is_battery = _stripped(folder / "type") in {"Battery", "UPS"}
        (supplies.batteries if is_battery else supplies.others).append(folder)
    return supplies


def _on_battery(batteries: list[Path], others: list[Path]) -> bool | None:
    online = [number for other in others if (number := read_number(other / "online")) is not None]
    if any(online):  # 1, or 2 for a charger whose voltage can be set
        return False
    states = {_stripped(battery / "status") for battery in batteries}
    if "Discharging" in states:
        return True
    if states & {"Charging", "Full", "Not charging"}:
        return False
    # A board with an empty charger socket reports that too, but has no battery.
    return True if batteries and online else None


def power_modes(root: Path) -> dict[str, str]:
    """Return the names of a Jetson's modes by number."""
    return dict(_MODE_NAME.findall(read_text(root / "etc/nvpmodel.conf") or ""))


class PowerModeSensor:
    """Read a Jetson's nvpmodel by name, or by number if it has none; elsewhere the firmware's platform profile."""

    def __init__(self, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self._status = root / "var/lib/nvpmodel/status"
        self._profile = root / "sys/firmware/acpi/platform_profile"
        self._names = CachedValue(partial(power_modes, root), clock)

    def read(self) -> str | None:
        """Return the name of the mode."""
        mode = _MODE.search(read_text(self._status) or "")
        if mode is not None:
            return self._names().get(mode[1], mode[1])
        return _stripped(self._profile) or None


def _stripped(file: Path) -> str:
    return (read_text(file) or "").strip()
