from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from edgedistill.runtime.sensors.thermal import Temperature, ThermalSensor
from edgedistill.testing import FakeClock

Plant = Callable[[Mapping[str, str]], Path]

ZONE = "sys/class/thermal/thermal_zone"
PI = {"proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0"}


def zone(number: int, kind: str, temp: str, **trips: str) -> dict[str, str]:
    files = {f"{ZONE}{number}/type": kind, f"{ZONE}{number}/temp": temp}
    for index, (kind_of_trip, at) in enumerate(trips.items()):
        files |= {
            f"{ZONE}{number}/trip_point_{index}_type": kind_of_trip.rstrip("_"),
            f"{ZONE}{number}/trip_point_{index}_temp": at,
        }
    return files


@pytest.mark.parametrize(
    "kind",
    [
        *("cpu-thermal", "bcm2835_thermal", "CPU-therm", "SOC0-therm", "tj-therm", "tj-thermal", "x86_pkg_temp"),
        *("acpitz", "package-thermal", "bigcore0-thermal", "littlecore-thermal", "soc_thermal", "imx_thermal_zone"),
        *("cpu0-thermal", "TCPU"),
    ],
)
def test_zones_of_the_processor(plant: Plant, kind: str) -> None:
    assert ThermalSensor(plant(zone(0, kind, "50000\n"))).read().now_c == 50.0


@pytest.mark.parametrize(
    "kind",
    [
        *("gpu-thermal", "GPU-therm", "CV0-therm", "PMIC-Die", "iwlwifi_1", "INT3400 Thermal", "thermal-fan-est"),
        *("AO-therm", "PLL-therm", "ddr_thermal", "nvme", "center-thermal", "battery", "pch_cannonlake", "SEN1", ""),
    ],
)
def test_zones_of_other_parts(plant: Plant, kind: str) -> None:
    assert ThermalSensor(plant(zone(0, kind, "50000\n", passive="60000"))).read() == Temperature()


def test_the_hottest_zone_and_the_lowest_limit(plant: Plant) -> None:
    files = {
        **zone(0, "cpu-thermal", "50000\n", passive="95000\n", critical="80000\n"),
        **zone(1, "soc-thermal", "61250\n", hot="105000\n", passive="97000\n"),
        **zone(2, "tj-thermal", "nonsense\n"),
        **zone(3, "cpu1-thermal", "-256000\n", active="45000\n"),
    }
    assert ThermalSensor(plant(files)).read() == Temperature(61.25, 95.0)


@pytest.mark.parametrize("temp", ["", "hot", "-256000", "2147483647", "12 34", "\0"])
def test_a_zone_that_says_nothing_of_use(plant: Plant, temp: str) -> None:
    assert ThermalSensor(plant(zone(0, "cpu-thermal", temp))).read() == Temperature()


def test_a_zone_that_is_switched_off(plant: Plant) -> None:
    root = plant({f"{ZONE}0/type": "cpu-thermal", f"{ZONE}0/temp/x": ""})  # there, and cannot be read
    assert ThermalSensor(root).read() == Temperature()


@pytest.mark.parametrize(
    ("coolers", "limit_c"),
    [
        ({"cdev0": "cpufreq-cpu0"}, 70.0),
        ({"cdev0": "thermal-cpufreq-0"}, 70.0),
        ({"cdev0": "Processor"}, 70.0),
        ({"cdev0": "pwm-fan", "cdev1": "cpu-throttle-alert"}, 70.0),
        ({}, 70.0),  # not told: it may
        ({"cdev0": "hot-surface-alert"}, None),
        ({"cdev0": "pwm-fan"}, None),
        ({"cdev0": "cpu-fan"}, None),
        ({"cdev0": "devfreq-17000000.gpu"}, None),
    ],
)
def test_a_limit_is_where_the_processor_is_slowed_down(
    plant: Plant, coolers: Mapping[str, str], limit_c: float | None
) -> None:
    files = zone(0, "cpu-thermal", "50000\n", passive="70000\n")
    for device, kind in coolers.items():
        files |= {f"{ZONE}0/{device}/type": f"{kind}\n", f"{ZONE}0/{device}_trip_point": "0\n"}
    assert ThermalSensor(plant(files)).read().limit_c == limit_c


def test_trip_points_that_only_notify_are_no_limit(plant: Plant) -> None:
    assert ThermalSensor(plant(zone(0, "x86_pkg_temp", "50000\n", passive="60000\n"))).read().limit_c is None


@pytest.mark.parametrize("at", ["0\n", "-274000\n", "256000\n", "soon\n", ""])
def test_a_trip_point_of_no_use(plant: Plant, at: str) -> None:
    assert ThermalSensor(plant(zone(0, "cpu-thermal", "50000\n", passive=at))).read().limit_c is None


def test_a_raspberry_pi_has_the_limit_of_its_firmware(plant: Plant) -> None:
    assert ThermalSensor(plant(PI | zone(0, "cpu-thermal", "50000\n", critical="110000\n"))).read().limit_c == 80.0


def test_a_raspberry_pi_that_was_given_another_limit(plant: Plant) -> None:
    assert ThermalSensor(plant(PI | zone(0, "cpu-thermal", "50000\n", passive="70000\n"))).read().limit_c == 70.0


def test_a_raspberry_pi_seen_from_a_container(plant: Plant) -> None:
    files = {"sys/class/hwmon/hwmon1/name": "rpi_volt\n", **zone(0, "cpu-thermal", "50000\n")}
    assert ThermalSensor(plant(files)).read().limit_c == 80.0


def test_a_zone_that_appears_later_is_found_within_a_minute(plant: Plant) -> None:
    clock = FakeClock()
    sensor = ThermalSensor(plant({}), clock)
    assert sensor.read() == Temperature()
    plant(zone(0, "cpu-thermal", "50000\n"))
    clock.sleep(59)
    assert sensor.read() == Temperature()
    clock.sleep(1)
    assert sensor.read() == Temperature(50.0, None)


def test_a_zone_that_goes_away(plant: Plant) -> None:
    root = plant(zone(0, "cpu-thermal", "50000\n"))
    sensor = ThermalSensor(root)
    assert sensor.read().now_c == 50.0
    (root / f"{ZONE}0/temp").unlink()
    assert sensor.read().now_c is None
