from __future__ import annotations

import logging
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import psutil
import pytest

from edgedistill.runtime.sensors import CpuSensor, Readings, SystemSensors, free_memory_mb


class Times(NamedTuple):
    user: float
    idle: float
    guest: float


class Machine:
    """Scripted CPU counters of a machine of four cores."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.busy = self.idle = self.own = 0.0
        monkeypatch.setattr(psutil, "cpu_count", lambda: 4)
        monkeypatch.setattr(psutil, "cpu_times", lambda: Times(self.busy, self.idle, 7.0))
        own = SimpleNamespace(cpu_times=lambda: SimpleNamespace(user=self.own, system=0.0))
        monkeypatch.setattr(psutil, "Process", lambda: own)

    def second(self, *, others: float, own: float) -> None:
        """One second passes in which others kept so many cores busy, and we did."""
        self.busy += others + own
        self.idle += 4 - others - own
        self.own += own


@pytest.mark.parametrize(
    ("usable", "others", "own", "load"),
    [
        (4, 0.0, 4.0, 0.0),  # our own work is no load
        (4, 2.0, 2.0, 0.5),
        (4, 4.0, 0.0, 1.0),
        (1, 2.0, 1.0, 0.0),  # with a quota of one core, there is room beside two busy ones
        (1, 3.5, 0.5, 0.5),
    ],
)
def test_the_load_is_what_others_take(
    monkeypatch: pytest.MonkeyPatch, usable: int, others: float, own: float, load: float
) -> None:
    machine = Machine(monkeypatch)
    sensor = CpuSensor(usable)
    assert sensor.read() is None
    machine.second(others=others, own=own)
    assert sensor.read() == pytest.approx(load)


def test_a_moment_is_too_short_to_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    sensor = CpuSensor(4)
    machine.second(others=2, own=0)
    assert sensor.read() == sensor.read() == pytest.approx(0.5)


def test_a_real_busy_process_is_seen() -> None:
    sensor = CpuSensor(psutil.cpu_count() or 1)
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.6)
        load = sensor.read()
    finally:
        busy.kill()
        busy.wait()
    assert load is not None
    assert load > 0.5 / (psutil.cpu_count() or 1)


def test_free_memory_is_the_least_of_host_and_control_group(tmp_path: Path) -> None:
    host_mb = free_memory_mb(tmp_path)
    assert host_mb > 10
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("8000000\n")
    (group / "memory.current").write_text("3000000\n")
    assert free_memory_mb(tmp_path) == 5.0


def test_a_sensor_that_fails_gives_none_and_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sensors = SystemSensors()

    def broken() -> float:
        raise OSError("the file is gone")

    monkeypatch.setattr(psutil, "virtual_memory", broken)
    with caplog.at_level(logging.WARNING):
        readings = [sensors.read() for _ in range(3)]
    assert [r.free_mb for r in readings] == [None] * 3
    assert [r.getMessage() for r in caplog.records] == ["no reading of free memory: the file is gone"]
    assert isinstance(readings[0], Readings)
