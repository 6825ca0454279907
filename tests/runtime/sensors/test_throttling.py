from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from edgedistill.runtime.sensors.throttling import ThrottlingSensor

Plant = Callable[[Mapping[str, str]], Path]

PI = {"proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"}
BITS = "sys/devices/platform/soc/soc:firmware/get_throttled"
ZONE = {"sys/class/thermal/thermal_zone0/type": "cpu-thermal\n"}
TEMP = "sys/class/thermal/thermal_zone0/temp"
CAP = {
    "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": "1500000\n",
    "sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq": "1500000\n",
    "sys/devices/system/cpu/cpufreq/policy4/scaling_max_freq": "1000000\n",
    "sys/devices/system/cpu/cpufreq/policy4/cpuinfo_max_freq": "1500000\n",
}
OC = "sys/class/hwmon/hwmon3"
JETSON = {
    f"{OC}/name": "soctherm_oc\n",
    f"{OC}/oc2_event_cnt": "0\n",
    f"{OC}/oc2_throt_en": "1\n",
    f"{OC}/oc3_event_cnt": "15\n",
    f"{OC}/oc3_throt_en": "1\n",
}


def volt(alarm: str) -> dict[str, str]:
    return {"sys/class/hwmon/hwmon2/name": "rpi_volt\n", "sys/class/hwmon/hwmon2/in0_lcrit_alarm": f"{alarm}\n"}


def cooler(kind: str, state: str) -> dict[str, str]:
    folder = "sys/class/thermal/cooling_device0"
    return {f"{folder}/type": f"{kind}\n", f"{folder}/cur_state": f"{state}\n"}


@pytest.mark.parametrize(
    ("files", "throttled"),
    [
        ({}, None),
        (PI | {BITS: "0\n"}, False),
        (PI | {BITS: "f0000\n"}, False),  # since the start, not now
        (PI | {BITS: "1\n"}, True),
        (PI | {BITS: "50002\n"}, True),
        (PI | {BITS: "4\n"}, True),
        (PI | {BITS: "80008\n"}, True),
        (PI | {BITS: "0x50005\n"}, True),
        (PI | {"sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled": "4\n"}, True),
        # Kernels since March 2025 tell of the voltage alone; the heat can be seen.
        (PI | volt("0"), False),
        (PI | volt("1"), True),
        (PI | volt("0") | ZONE | {TEMP: "79900\n"}, False),
        (PI | volt("0") | ZONE | {TEMP: "80000\n"}, True),
        (volt("0") | ZONE | {TEMP: "80000\n"}, True),  # a container
        (PI | volt("?"), None),
        # Where the firmware tells, its own limit may be another.
        (PI | {BITS: "0\n"} | volt("0") | ZONE | {TEMP: "84000\n"}, False),
        # Reading the bits makes the kernel warn, and this one is to die of that.
        (PI | {BITS: "4\n", "proc/sys/kernel/panic_on_warn": "1\n"} | volt("0"), False),
        (cooler("Processor", "0"), False),
        (cooler("Processor", "3"), True),
        (cooler("cpufreq-cpu0", "1"), True),
        (cooler("thermal-cpufreq-0", "1"), True),
        (cooler("cpu-throttle-alert", "1"), True),
        (cooler("soc0-throttle-alert", "1"), True),
        (cooler("pwm-fan", "3"), None),
        (cooler("hot-surface-alert", "1"), None),
        (cooler("devfreq-17000000.gpu", "4"), None),
        (cooler("Processor", "much"), None),
        (CAP, True),
        (CAP | {"sys/devices/system/cpu/cpufreq/policy4/scaling_max_freq": "1500000\n"}, False),
        (CAP | {"sys/devices/system/cpu/cpufreq/policy4/scaling_max_freq": "\n"}, False),
        (CAP | cooler("cpufreq-cpu0", "0"), False),  # a power mode, not the heat
        (CAP | PI | {BITS: "0\n"}, False),
    ],
)
def test_throttled(plant: Plant, files: Mapping[str, str], throttled: bool | None) -> None:
    assert ThrottlingSensor(plant(files)).read() is throttled


@pytest.mark.parametrize("bits", ["", "throttled\n", "\0"])
def test_bits_that_are_none_are_an_error(plant: Plant, bits: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        ThrottlingSensor(plant(PI | {BITS: bits})).read()


@pytest.mark.parametrize(
    ("files", "counter", "after"),
    [
        (JETSON, f"{OC}/oc3_event_cnt", "16\n"),
        (
            {"sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": "7\n"},
            "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count",
            "9\n",
        ),
    ],
)
def test_an_event_since_the_last_call(plant: Plant, files: Mapping[str, str], counter: str, after: str) -> None:
    sensor = ThrottlingSensor(plant(files))
    assert [sensor.read(), sensor.read()] == [False, False]  # what was before the first call is long ago
    plant({counter: after})
    assert [sensor.read(), sensor.read()] == [True, False]
    plant({counter: "?\n"})
    sensor.read()
    plant({counter: after})
    assert sensor.read() is False


def test_events_that_throttle_nothing(plant: Plant) -> None:
    sensor = ThrottlingSensor(plant(JETSON | {f"{OC}/oc3_throt_en": "0\n"}))
    sensor.read()
    plant({f"{OC}/oc3_event_cnt": "99\n"})
    assert sensor.read() is False
