from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import pytest

from edgedistill.runtime.sensors.guard import Guarded, Patient
from edgedistill.testing import FakeClock


class Sensor:
    """Fails, or does not answer, as long as it is told to."""

    def __init__(self) -> None:
        self.calls = 0
        self.broken = False
        self.answers = threading.Event()
        self.answers.set()

    def __call__(self) -> int:
        self.calls += 1
        self.answers.wait()
        if self.broken:
            raise OSError("the bus is gone")
        return self.calls


@pytest.fixture
def sensor() -> Iterator[Sensor]:
    sensor = Sensor()
    yield sensor
    sensor.answers.set()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_a_failure_gives_none_and_is_tried_again_ever_less_often(sensor: Sensor, clock: FakeClock) -> None:
    guarded = Guarded("bus", sensor, clock)
    sensor.broken = True
    tried_s = []
    for second in range(200):
        clock.now_s, before = float(second), sensor.calls
        assert guarded() is None
        tried_s += [second] * (sensor.calls - before)
    assert tried_s == [0, 1, 3, 7, 15, 31, 63, 123, 183]
    sensor.broken, clock.now_s = False, 243.0
    assert guarded() == 10
    sensor.broken = True
    assert [guarded(), guarded()] == [None, None]
    assert sensor.calls == 11
    clock.sleep(1)  # as after the very first failure
    guarded()
    assert sensor.calls == 12


def test_years_of_failures_are_one_line_in_the_log(
    sensor: Sensor, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    guarded = Guarded("bus", sensor, clock)
    with caplog.at_level(logging.INFO):
        for attempt in range(5000):
            sensor.broken = attempt % 1500 > 0
            guarded()
            clock.sleep(60)
    assert sensor.calls == 5000
    assert [record.getMessage() for record in caplog.records] == ["no reading of bus: the bus is gone"]


def read(patient: Patient[int], *, wait_s: float = 5.0) -> int | None:
    thread = patient.start()
    if thread is not None:
        thread.join(wait_s)
    return patient.value()


def test_a_patient_sensor_is_read_when_it_is_time(sensor: Sensor, clock: FakeClock) -> None:
    patient = Patient("bus", sensor, every_s=1.0, clock=clock)
    values = []
    for _ in range(9):
        values.append(read(patient))
        clock.sleep(0.25)
    assert values == [1, 1, 1, 1, 2, 2, 2, 2, 3]


def test_one_that_does_not_answer_keeps_its_value_for_a_while(
    sensor: Sensor, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    patient = Patient("bus", sensor, every_s=1.0, clock=clock)
    assert read(patient) == 1
    sensor.answers.clear()
    values, threads = [], set()
    for _ in range(8):
        clock.sleep(1)
        values.append(read(patient, wait_s=0.01))
        threads.add(threading.active_count())
    assert values == [1, 1, 1, 1, 1, None, None, None]
    assert len(threads) == 1  # there is never a second one
    assert [record.getMessage() for record in caplog.records] == ["no reading of bus: it has not answered for 5 s"]
    sensor.answers.set()
    while patient.value() is None:
        time.sleep(0.001)
    clock.sleep(1)
    assert read(patient) == 3


def test_a_machine_without_a_thread_left(
    sensor: Sensor, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    patient = Patient("bus", sensor, every_s=1.0, clock=clock)
    assert read(patient) == 1

    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        clock.sleep(1)
        assert read(patient) is None
    assert [record.getMessage() for record in caplog.records] == ["no reading of bus: can't start new thread"]
    clock.sleep(1)
    assert read(patient) == 2
