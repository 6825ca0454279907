from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from edgedistill.runtime.sensors.cpu import CpuSensor, RunQueueSensor

Plant = Callable[[Mapping[str, str]], Path]


class Machine:
    """Scripted counters of a machine of four cores, in the kernel's ticks of 10 ms."""

    def __init__(self, plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
        self._plant = plant
        self.busy = self.idle = 0
        self.own_s = 0.0
        monkeypatch.setattr(time, "process_time", lambda: self.own_s)
        self.root = self.write()

    def write(self) -> Path:
        cores = "".join(f"cpu{core} 1 1 1 1 1 1 1 1 1 1\n" for core in range(4))
        return self._plant({"proc/stat": f"cpu  {self.busy} 0 0 {self.idle} {self.idle} 0 0 0 9000 0\n{cores}intr 5\n"})

    def second(self, *, others: float, own: float) -> None:
        """One second passes in which others kept so many cores busy, and we did."""
        self.busy += round(100 * (others + own))
        self.idle += round(100 * (4 - others - own) / 2)  # and as much waiting for a disk
        self.own_s += own
        self.write()


@pytest.fixture
def machine(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(plant, monkeypatch)


@pytest.mark.parametrize(
    ("usable", "others", "own", "load"),
    [
        (4, 0.0, 4.0, 0.0),  # our own work is no load
        (4, 2.0, 2.0, 0.5),
        (4, 4.0, 0.0, 1.0),
        (1, 2.0, 1.0, 0.0),  # with a quota of one core, there is room beside two busy ones
        (1, 3.5, 0.5, 0.5),
        (8, 2.0, 2.0, 0.5),  # cores that were switched off since
    ],
)
def test_the_load_is_what_others_take(machine: Machine, usable: int, others: float, own: float, load: float) -> None:
    sensor = CpuSensor(usable, machine.root)
    assert sensor.read() is None
    machine.second(others=others, own=own)
    assert sensor.read() == pytest.approx(load)


def test_a_moment_is_too_short_to_measure(machine: Machine) -> None:
    sensor = CpuSensor(4, machine.root)
    sensor.read()
    machine.second(others=2, own=0)
    assert sensor.read() == sensor.read() == pytest.approx(0.5)


def test_without_proc_psutil_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Times(NamedTuple):
        user: float
        idle: float
        guest: float

    times = iter([Times(0.0, 0.0, 7.0), Times(2.0, 2.0, 9.0)])
    monkeypatch.setattr(psutil, "cpu_count", lambda: 4)
    monkeypatch.setattr(psutil, "cpu_times", lambda: next(times))
    monkeypatch.setattr(time, "process_time", lambda: 0.0)
    sensor = CpuSensor(4, tmp_path)
    assert sensor.read() is None
    assert sensor.read() == pytest.approx(0.5)


@pytest.mark.parametrize("stat", ["", "cpu\n", "cpu  1 2 3\n", "intr 5\n", "cpu  a b c d e f g h\n"])
def test_counters_that_are_none_are_an_error(plant: Plant, stat: str) -> None:
    sensor = CpuSensor(4, plant({"proc/stat": stat}))
    with pytest.raises(ValueError, match="proc/stat says"):
        sensor.read()


@contextmanager
def busy_process() -> Iterator[None]:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        busy.kill()
        busy.wait()


def test_a_real_busy_process_is_seen() -> None:
    cores = psutil.cpu_count() or 1
    load, queue = CpuSensor(cores), RunQueueSensor(cores)
    load.read()
    with busy_process():
        time.sleep(0.6)
        share, waiting = load.read(), queue.read()
    assert share is not None
    assert share > 0.5 / cores
    assert waiting is not None
    assert waiting > 0.5 / cores


def tasks(*states: str) -> dict[str, str]:
    return {f"proc/self/task/{7 + n}/stat": f"{7 + n} (a) (b) {state} 1 7 7\n" for n, state in enumerate(states)}


@pytest.mark.parametrize(
    ("usable", "own", "running", "queue"),
    [
        (4, ["R", "S"], 3, 0.5),  # the thread that asks is one of the three
        (4, ["R", "R", "S", "D"], 3, 0.25),
        (4, [], 2, 0.5),
        (4, ["R", "R"], 1, 0.0),  # the two files are not read at the same moment
        (2, ["R"], 5, 1.0),  # two of the four may be on the cores that we may not use
        (1, ["R"], 4, 0.0),
        (4, ["R"] * 17, 13, 3.0),  # too many to look at: only the one that asks is taken off
    ],
)
def test_the_run_queue_is_of_others(plant: Plant, usable: int, own: list[str], running: int, queue: float) -> None:
    root = plant(
        {
            "proc/loadavg": f"0.52 0.58 0.59 {running}/213 4242\n",
            "sys/devices/system/cpu/online": "0-2,5\n",
            **tasks(*own),
        }
    )
    assert RunQueueSensor(usable, root).read() == queue


def test_no_run_queue_without_proc(tmp_path: Path) -> None:
    assert RunQueueSensor(4, tmp_path).read() is None


def test_a_run_queue_without_a_list_of_cores(plant: Plant) -> None:
    cores = psutil.cpu_count() or 1
    assert RunQueueSensor(cores, plant({"proc/loadavg": f"0 0 0 {3 * cores}/9 9\n"})).read() == 3.0


def test_a_run_queue_that_is_none_is_an_error(plant: Plant) -> None:
    with pytest.raises(ValueError, match="proc/loadavg says 'busy"):
        RunQueueSensor(4, plant({"proc/loadavg": "busy, rather\n"})).read()
