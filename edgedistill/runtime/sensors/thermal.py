"""Read the processor's temperature, and the temperature at which it is slowed down.

Names of zones: "cpu-thermal" (Raspberry Pi), "CPU-therm", "SOC0-therm", "tj-therm" (JetPack 5), "cpu-thermal",
"soc0-thermal", "tj-thermal" (JetPack 6), "x86_pkg_temp", "acpitz" (PCs), "package-thermal", "bigcore0-thermal"
(Rockchip). Units in the files are thousandths of a degree.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from edgedistill.runtime.kernel_files import read_number, read_text
from edgedistill.runtime.sensors.cached_value import CachedValue

__all__ = ["FIRMWARE_LIMIT_C", "Temperature", "ThermalSensor", "cools_processor", "is_raspberry_pi", "named_hwmon"]

# From here on a Raspberry Pi's firmware slows the cores down by default (raspberrypi.com/documentation, "Frequency
# management and thermal control"), and reports no trip point to the kernel.
FIRMWARE_LIMIT_C = 80.0

_ABOUT_PROCESSOR = re.compile(r"cpu|soc|core|^tj|x86_pkg|package|acpitz|bcm2835|imx_thermal", re.IGNORECASE)
# Not fans, and not Jetson's "hot-surface-alert", which warns at 70 °C and slows nothing down.
_COOLS_PROCESSOR = re.compile(r"^(?!.*fan)(processor|.*cpu|soc\w*-throttle)", re.IGNORECASE)
# Zones of parts that are switched off read −256 °C; unused trip points read 0 or 256 °C.
_COLDEST_C, _HOTTEST_C = -40.0, 150.0
_LOWEST_LIMIT_C = 40.0


class Temperature(NamedTuple):
    """Hold the temperature of the hottest zone, and the lowest limit of any, in °C."""

    now_c: float | None = None
    limit_c: float | None = None


class _Zone(NamedTuple):
    file: Path
    limit_c: float | None


class ThermalSensor:
    """Read the temperature of the processor and the chip around it."""

    def __init__(self, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self._zones = CachedValue(partial(_zones, root), clock)

    def read(self) -> Temperature:
        """Return the temperature and limit of the zones that can be read."""
        zones = self._zones()
        now_c = [c for zone in zones if (c := _celsius(zone.file)) is not None]
        limits_c = [zone.limit_c for zone in zones if zone.limit_c is not None]
        return Temperature(max(now_c, default=None), min(limits_c, default=None))


def cools_processor(cooling_device: Path) -> bool:
    """Return whether this cooling device cools by slowing the processor down."""
    return _COOLS_PROCESSOR.search(_type_of(cooling_device)) is not None


def is_raspberry_pi(root: Path) -> bool:
    """Return whether this is a Raspberry Pi, by its model, or in a container by its voltage monitor."""
    return "Raspberry Pi" in (read_text(root / "proc/device-tree/model") or "") or bool(named_hwmon(root, "rpi_volt"))


def named_hwmon(root: Path, name: str) -> list[Path]:
    """Return the hardware monitors of that name; their numbers change from boot to boot."""
    folders = sorted((root / "sys/class/hwmon").glob("hwmon*"))
    return [folder for folder in folders if (read_text(folder / "name") or "").strip() == name]


def _zones(root: Path) -> list[_Zone]:
    folders = sorted((root / "sys/class/thermal").glob("thermal_zone*"))
    default_c = FIRMWARE_LIMIT_C if is_raspberry_pi(root) else None
    about = [folder for folder in folders if _ABOUT_PROCESSOR.search(_type_of(folder))]
    return [_Zone(folder / "temp", min(_limits_c(folder), default=default_c)) for folder in about]


def _limits_c(zone: Path) -> list[float]:
    # Its trip points only notify whoever set them.
    if _type_of(zone) == "x86_pkg_temp":
        return []
    numbers = [path.name.split("_")[2] for path in zone.glob("trip_point_*_type")]
    limits_c = [_celsius(zone / f"trip_point_{number}_temp") for number in numbers if _slows_down(zone, number)]
    return [c for c in limits_c if c is not None and c >= _LOWEST_LIMIT_C]


def _slows_down(zone: Path, number: str) -> bool:
    """Return whether the processor is slowed down at the trip point of that number."""
    kind = (read_text(zone / f"trip_point_{number}_type") or "").strip()
    if kind != "passive":
        return kind == "hot"
    bound = [path for path in zone.glob("cdev*_trip_point") if (read_text(path) or "").strip() == number]
    coolers = [zone / path.name.removesuffix("_trip_point") for path in bound]
    return not coolers or any(cools_processor(cooler) for cooler in coolers)


def _type_of(folder: Path) -> str:
    return (read_text(folder / "type") or "").strip()


def _celsius(path: Path) -> float | None:
    number = read_number(path)
    return None if number is None or not _COLDEST_C <= number / 1e3 <= _HOTTEST_C else number / 1e3
