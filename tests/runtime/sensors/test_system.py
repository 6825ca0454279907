from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from edgedistill.errors import InputError
from edgedistill.runtime.sensors import Readings, SystemSensors
from edgedistill.testing import FakeClock

Tree = Mapping[str, str]
Plant = Callable[[Tree], Path]

QUEUE = 3 / 4

EXPECTED = {
    "Raspberry Pi 4": Readings(
        run_queue=QUEUE, free_mb=3072.0, temperature_c=48.199, temperature_limit_c=80.0, throttled=False
    ),
    "Raspberry Pi 5": Readings(
        run_queue=QUEUE, free_mb=3072.0, temperature_c=61.5, temperature_limit_c=80.0, throttled=False
    ),
    "Jetson Orin": Readings(
        run_queue=QUEUE,
        free_mb=5120.0,
        temperature_c=53.25,
        temperature_limit_c=98.5,
        throttled=False,
        power_mode="7W",
    ),
    "laptop": Readings(
        run_queue=QUEUE,
        free_mb=9216.0,
        cpu_pressure=0.125,
        memory_pressure=0.0,
        temperature_c=67.0,
        temperature_limit_c=95.0,
        throttled=False,
        on_battery=True,
        battery_share=0.81,
        power_mode="balanced",
    ),
    "container, version 1": Readings(run_queue=1 / 2, free_mb=300.0),
    "container, version 2": Readings(run_queue=1 / 2, free_mb=300.0, cpu_pressure=0.99, memory_pressure=0.0325),
}


@pytest.mark.usefixtures("four_cores", "no_hurry")
@pytest.mark.parametrize("board", EXPECTED)
def test_a_board(plant: Plant, boards: Mapping[str, Tree], board: str) -> None:
    assert SystemSensors(plant(boards[board])).read() == EXPECTED[board]


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    sensors = SystemSensors(tmp_path)
    sensors.read()
    readings = sensors.read()
    # These two psutil knows.
    assert readings == Readings(other_load=readings.other_load, free_mb=readings.free_mb)
    assert readings.free_mb is not None


def test_this_machine() -> None:
    sensors = SystemSensors()
    sensors.read()
    time.sleep(0.2)
    readings = sensors.read()
    assert readings.other_load is not None
    assert 0 <= readings.other_load <= 1
    assert readings.run_queue is not None
    assert readings.run_queue >= 0
    assert readings.free_mb is not None
    assert readings.free_mb <= psutil.virtual_memory().total / 1e6
    assert readings.extra == {}


@pytest.mark.parametrize("board", EXPECTED)
@pytest.mark.parametrize("damage", [b"", b"\xff\xfe\0nonsense\n", b"-1\n", b"9" * 70000, None])
def test_no_damage_to_any_file_reaches_the_caller(
    plant: Plant, boards: Mapping[str, Tree], board: str, damage: bytes | None
) -> None:
    root = plant(boards[board])
    for name in boards[board]:
        path = root / name
        whole = path.read_bytes()
        path.unlink()
        if damage is None:
            path.mkdir()  # there, and cannot be read
        else:
            path.write_bytes(damage)
        assert isinstance(SystemSensors(root).read(), Readings)
        if damage is None:
            path.rmdir()
        path.write_bytes(whole)


@pytest.mark.usefixtures("four_cores")
def test_a_damaged_sensor_leaves_the_others_alone(
    plant: Plant, boards: Mapping[str, Tree], caplog: pytest.LogCaptureFixture
) -> None:
    root = plant({**boards["laptop"], "proc/loadavg": "busy, rather\n"})
    sensors = SystemSensors(root)
    with caplog.at_level(logging.WARNING):
        readings = [sensors.read() for _ in range(3)]
    assert {r.run_queue for r in readings} == {None}
    assert {r.free_mb for r in readings} == {9216.0}
    assert [record.getMessage() for record in caplog.records] == [
        f"no reading of run queue: {root}/proc/loadavg says 'busy, rather\\n'"
    ]


@pytest.fixture
def stuck(plant: Plant, boards: Mapping[str, Tree]) -> Iterator[Path]:
    """A laptop whose thermal driver does not answer: the open of a pipe waits for a writer."""
    root = plant(boards["laptop"])
    temp = root / "sys/class/thermal/thermal_zone2/temp"
    temp.unlink()
    os.mkfifo(temp)
    yield root
    writer = os.open(temp, os.O_RDWR)  # frees the reader
    os.write(writer, b"1\n")
    time.sleep(0.1)
    os.close(writer)


def test_a_driver_that_does_not_answer_holds_nobody_up(stuck: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    sensors = SystemSensors(stuck, clock=clock)
    start_s = time.monotonic()
    for _ in range(8):
        readings = sensors.read()
        clock.sleep(1)
    assert time.monotonic() - start_s < 2
    assert readings.temperature_c is None
    assert (readings.free_mb, readings.throttled, readings.battery_share) == (9216.0, False, 0.81)
    assert [record.getMessage() for record in caplog.records] == [
        "no reading of temperature: it has not answered for 5 s"
    ]


@pytest.mark.usefixtures("no_hurry")
def test_sensors_of_the_application(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> float:
        raise LookupError("no such bus")

    names: list[str] = []

    def watched() -> float:
        names.append(threading.current_thread().name)
        return 3

    extra: dict[str, Callable[[], float | None]] = {
        "watched": watched,
        "none": lambda: None,
        "not a number": lambda: math.nan,
        "broken": broken,
    }
    clock = FakeClock()
    sensors = SystemSensors(tmp_path, extra=extra, clock=clock)
    readings = []
    for _ in range(4):
        readings.append(sensors.read().extra)
        clock.sleep(0.25)
    assert readings == [{"watched": 3.0}] * 4
    assert names == ["edgedistill watched"]
    assert sorted(record.getMessage() for record in caplog.records) == [
        "no reading of broken: no such bus",
        "no reading of not a number: it gave nan, which is not a finite number",
    ]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"fan_rpm": 1200.0}, r"the sensor 'fan_rpm' is 1200\.0; expected a function without arguments"),
        ({"free_mb": lambda: 1.0}, "extra names a sensor 'free_mb'; expected a name that no field of Readings has"),
        ({"extra": lambda: 1.0}, "extra names a sensor 'extra'; expected"),
        ({"": lambda: 1.0}, "extra names a sensor ''; expected"),
        ({3: lambda: 1.0}, "extra names a sensor 3; expected"),
    ],
)
def test_a_sensor_that_cannot_be_one_is_refused(tmp_path: Path, extra: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SystemSensors(tmp_path, extra=extra)


def test_a_sensor_of_the_application_that_does_not_answer(tmp_path: Path) -> None:
    answers = threading.Event()

    def slow() -> float:
        answers.wait()
        return 1.0

    sensors = SystemSensors(tmp_path, extra={"slow": slow, "quick": lambda: 2.0})
    assert _read_until(sensors, "quick") == {"quick": 2.0}
    answers.set()
    assert _read_until(sensors, "slow") == {"slow": 1.0, "quick": 2.0}


def _read_until(sensors: SystemSensors, name: str) -> Mapping[str, float]:
    until_s = time.monotonic() + 10
    while name not in (extra := sensors.read().extra) and time.monotonic() < until_s:
        time.sleep(0.01)
    return extra


@pytest.mark.usefixtures("no_hurry")
def test_sensors_that_several_threads_read(tmp_path: Path) -> None:
    def slow() -> float:
        time.sleep(0.05)
        return 1.0

    sensors = SystemSensors(tmp_path, extra={"slow": slow})
    found: list[Mapping[str, float]] = []
    threads = [threading.Thread(target=lambda: found.append(sensors.read().extra)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [{"slow": 1.0}] * 8


def test_readings_can_be_compared_and_hashed() -> None:
    assert Readings(extra={"a": 1.0}) == Readings(extra={"a": 1.0})
    assert Readings(extra={"a": 1.0}) != Readings()
    assert len({Readings(extra={"a": 1.0}), Readings(extra={"a": 1.0})}) == 1
