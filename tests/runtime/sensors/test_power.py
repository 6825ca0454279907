from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from edgedistill.runtime.sensors.power import PowerModeSensor, Supply, SupplySensor

Plant = Callable[[Mapping[str, str]], Path]


def supply(name: str, **files: str) -> dict[str, str]:
    return {f"sys/class/power_supply/{name}/{file}": f"{text}\n" for file, text in files.items()}


def battery(status: str, capacity: str = "50", name: str = "BAT0") -> dict[str, str]:
    return supply(name, type="Battery", status=status, capacity=capacity)


def mains(online: str) -> dict[str, str]:
    return supply("AC", type="Mains", online=online)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, Supply()),
        (mains("1"), Supply(False)),
        (mains("0"), Supply()),  # an empty socket, and no battery
        (mains("0") | battery("Discharging", "81"), Supply(True, 0.81)),
        (mains("1") | battery("Charging"), Supply(False, 0.5)),
        (mains("1") | battery("Discharging"), Supply(False, 0.5)),  # a weak charger
        (supply("usb", type="USB", online="2") | battery("Not charging"), Supply(False, 0.5)),
        (battery("Discharging"), Supply(True, 0.5)),
        (battery("Full", "100"), Supply(False, 1.0)),
        (battery("Unknown"), Supply(None, 0.5)),
        (mains("0") | battery("Unknown"), Supply(True, 0.5)),
        (supply("ups", type="UPS", status="Discharging", capacity="20"), Supply(True, 0.2)),
        (battery("Discharging", "20") | battery("Full", "80", "BAT1"), Supply(True, 0.5)),
        (battery("Discharging", "104"), Supply(True, 1.0)),
        (battery("Discharging", "some"), Supply(True, None)),
        (battery("?") | mains("?"), Supply(None, 0.5)),
        (supply("mouse", type="Battery", scope="Device", status="Discharging", capacity="5"), Supply()),
        (supply("odd", x="1"), Supply()),
    ],
)
def test_the_supply(plant: Plant, files: Mapping[str, str], expected: Supply) -> None:
    assert SupplySensor(plant(files)).read() == expected


CONF = "# 15W first\n< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=12 NAME=MAXN_SUPER >\n"


@pytest.mark.parametrize(
    ("status", "conf", "mode"),
    [
        ("pmode:0000", CONF, "15W"),
        ("pmode:0012 fmode:quiet", CONF, "MAXN_SUPER"),
        ("pmode:0001", CONF, "1"),
        ("pmode:0000", "", "0"),
        ("pmode: 0000", CONF, "15W"),
        ("pmode:", CONF, None),
        ("\0", CONF, None),
    ],
)
def test_a_jetsons_mode(plant: Plant, status: str, conf: str, mode: str | None) -> None:
    root = plant({"var/lib/nvpmodel/status": f"{status}\n", "etc/nvpmodel.conf": conf})
    assert PowerModeSensor(root).read() == mode


@pytest.mark.parametrize(("files", "mode"), [({}, None), ({"sys/firmware/acpi/platform_profile": "quiet\n"}, "quiet")])
def test_a_platform_profile(plant: Plant, files: Mapping[str, str], mode: str | None) -> None:
    assert PowerModeSensor(plant(files)).read() == mode
