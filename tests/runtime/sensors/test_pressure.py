from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from edgedistill.runtime.sensors.pressure import PressureSensor
from edgedistill.testing import FakeClock

Plant = Callable[[Mapping[str, str]], Path]


def some(percent: str) -> str:
    return f"some avg10={percent} avg60=0.00 avg300=0.00 total=1\nfull avg10=77.00 avg60=0.00 avg300=0.00 total=1\n"


MACHINE = {"proc/pressure/memory": some("50.00")}
MEMBER = {"proc/self/cgroup": "0::/a/b\n"}


@pytest.mark.parametrize(
    ("files", "share"),
    [
        ({}, None),
        (MACHINE, 0.5),
        ({**MACHINE, "proc/pressure/memory": some("100.00")}, 1.0),
        (MACHINE | MEMBER, 0.5),
        (MACHINE | MEMBER | {"sys/fs/cgroup/a/b/memory.pressure": some("12.34")}, 0.1234),
        # Of a group that does not tell, the next one around it.
        ({**MACHINE, **MEMBER, "sys/fs/cgroup/a/b/x": "", "sys/fs/cgroup/a/memory.pressure": some("5.00")}, 0.05),
        # Version 2 beside version 1, as on JetPack 5.
        (
            {
                **MACHINE,
                "proc/self/cgroup": "4:memory:/v1\n1:name=systemd:/v1\n0::/a\n",
                "sys/fs/cgroup/unified/a/memory.pressure": some("7.00"),
                "sys/fs/cgroup/memory/v1/memory.limit_in_bytes": "1\n",
            },
            0.07,
        ),
    ],
)
def test_the_nearest_that_tells(plant: Plant, files: Mapping[str, str], share: float | None) -> None:
    assert PressureSensor("memory", plant(files)).read() == (None if share is None else pytest.approx(share))


def test_pressure_that_the_kernel_has_switched_off(plant: Plant) -> None:
    root = plant({"proc/pressure/memory/x": ""})  # there, and cannot be read
    assert PressureSensor("memory", root).read() is None


def test_a_second_later_it_is_read_again(plant: Plant) -> None:
    clock = FakeClock()
    sensor = PressureSensor("memory", plant(MACHINE), clock)
    assert sensor.read() == 0.5
    plant({"proc/pressure/memory": some("25.00")})
    assert sensor.read() == 0.5
    clock.sleep(1)
    assert sensor.read() == 0.25


@pytest.mark.parametrize("text", ["", "full avg10=1.00 avg60=1.00\n", "some avg10=high avg60=1.00\n", "some"])
def test_pressure_that_is_none_is_an_error(plant: Plant, text: str) -> None:
    with pytest.raises(ValueError, match="proc/pressure/cpu says"):
        PressureSensor("cpu", plant({"proc/pressure/cpu": text})).read()


@pytest.mark.skipif(not Path("/proc/pressure/cpu").is_file(), reason="this kernel does not tell")
def test_this_machine() -> None:
    share = PressureSensor("cpu").read()
    assert share is not None
    assert 0 <= share <= 1
