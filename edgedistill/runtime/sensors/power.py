"""What the machine lives on, and which power mode it is in."""

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
    """Whether the machine lives on its battery, and what share of it is left, 0 to 1."""

    on_battery: bool | None = None
    battery_share: float | None = None


class _Supplies(NamedTuple):
    batteries: list[Path]
    others: list[Path]


class SupplySensor:
    """The machine's batteries and other supplies."""

    def __init__(self, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self._supplies = CachedValue(partial(_supplies, root), clock)

    def read(self) -> Supply:
        """The state of the supplies; of several batteries the mean."""
        batteries, others = self._supplies()
        percents = [p for battery in batteries if (p := read_number(battery / "capacity")) is not None]
        share = min(1.0, max(0.0, sum(percents) / len(percents) / 100)) if percents else None
        return Supply(_on_battery(batteries, others), share)


def _supplies(root: Path) -> _Supplies:
    found = _Supplies([], [])
    for folder in sorted((root / "sys/class/power_supply").glob("*")):
        if _says(folder / "scope") == "Device":  # a mouse or a pen has a battery too
            continue
        is_battery = _says(folder / "type") in {"Battery", "UPS"}
        (found.batteries if is_battery else found.others).append(folder)
    return found


def _on_battery(batteries: list[Path], others: list[Path]) -> bool | None:
    online = [number for other in others if (number := read_number(other / "online")) is not None]
    if any(online):  # 1, or 2 for a charger whose voltage can be set
        return False
    states = {_says(battery / "status") for battery in batteries}
    if "Discharging" in states:
        return True
    if states & {"Charging", "Full", "Not charging"}:
        return False
    # A board with an empty socket for a charger says that too, and has no battery.
    return True if batteries and online else None


def power_modes(root: Path) -> dict[str, str]:
    """The names of a Jetson's modes by their numbers."""
    return dict(_MODE_NAME.findall(read_text(root / "etc/nvpmodel.conf") or ""))


class PowerModeSensor:
    """The name of a Jetson's nvpmodel, or its number where it has no name; else the firmware's platform profile."""

    def __init__(self, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self._status = root / "var/lib/nvpmodel/status"
        self._profile = root / "sys/firmware/acpi/platform_profile"
        self._names = CachedValue(partial(power_modes, root), clock)

    def read(self) -> str | None:
        """The mode's name."""
        mode = _MODE.search(read_text(self._status) or "")
        if mode is not None:
            return self._names().get(mode[1], mode[1])
        return _says(self._profile) or None


def _says(file: Path) -> str:
    return (read_text(file) or "").strip()
