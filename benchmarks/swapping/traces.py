"""Record real load: how long every subnet took at every moment, and what the sensors read.

A recording runs every member of a palette in turn on the same batch of texts, while other processes burn the CPU or
take memory, or a control group changes the CPU quota. Every replay (oracle.py) meets the same slow-downs, whatever it
chooses.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.shared import output
from edgedistill.demo.load import CpuLoad
from edgedistill.palette import Palette
from edgedistill.runtime.onnx import create_session
from edgedistill.runtime.sensors import Readings, SystemSensors

EVERY_S = 0.25  # of the sensors, as the runtime's default
PAUSE_S = 0.02  # between two rounds of all members
_CPU = Path("/sys/fs/cgroup/cpu/edgedistill-trace")
_MEMORY = Path("/sys/fs/cgroup/memory/edgedistill-trace")
_HOG = "import sys, time; held = bytearray(int(sys.argv[1])); time.sleep(600)"

Feeds = dict[str, NDArray[np.int64]]
Phase = tuple[float, Callable[[], None]]


@dataclass(frozen=True)
class Trace:
    """One recording.

    Attributes:
        subnets: the members, in the order of the columns.
        at_s: when each round began.
        latency_ms: [rounds, members].
        read_s, readings: the sensors, and when they were read.
    """

    subnets: list[str]
    at_s: NDArray[np.float64]
    latency_ms: NDArray[np.float64]
    read_s: list[float]
    readings: list[Readings]

    def save(self, path: Path) -> None:
        """Write the recording as one file."""
        np.savez(
            path,
            subnets=np.array(self.subnets),
            at_s=self.at_s,
            latency_ms=self.latency_ms,
            read_s=np.array(self.read_s),
            readings=np.array([(r.other_load, r.free_mb) for r in self.readings], dtype=float),
        )

    @classmethod
    def load(cls, path: Path) -> Trace:
        """Read a recording."""
        with np.load(path) as stored:
            readings = [Readings(other_load=_known(a), free_mb=_known(b)) for a, b in stored["readings"]]
            return cls(
                stored["subnets"].tolist(), stored["at_s"], stored["latency_ms"], stored["read_s"].tolist(), readings
            )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def record(palette: Palette, subnets: Sequence[str], feeds: Feeds, phases: Iterator[Phase]) -> Trace:
    """Ask all members in turn through the phases."""
    sessions = [create_session(palette.graph_path(name), 1) for name in subnets]
    stop, read = threading.Event(), list[tuple[float, Readings]]()
    reader = threading.Thread(target=_read, args=(read, stop))
    reader.start()
    at_s, rows, order = list[float](), list[list[float]](), random.Random(0)
    try:
        for seconds, change in phases:
            change()
            end_s = time.perf_counter() + seconds
            while time.perf_counter() < end_s:
                at_s.append(time.perf_counter())
                row = [0.0] * len(sessions)
                for place in order.sample(range(len(sessions)), len(sessions)):
                    start_s = time.perf_counter()
                    sessions[place].run(None, feeds)
                    row[place] = 1e3 * (time.perf_counter() - start_s)
                rows.append(row)
                time.sleep(PAUSE_S)
    finally:
        stop.set()
        reader.join()
    origin = at_s[0]
    return Trace(
        list(subnets), np.array(at_s) - origin, np.array(rows), [at - origin for at, _ in read], [r for _, r in read]
    )


def _read(into: list[tuple[float, Readings]], stop: threading.Event) -> None:
    sensors = SystemSensors()
    while not stop.wait(EVERY_S):
        into.append((time.perf_counter(), sensors.read()))


@contextmanager
def bursts(seconds: float) -> Iterator[Iterator[Phase]]:
    """Four processes that burn, on and off for 4 to 15 s."""
    rng = random.Random(1)
    with CpuLoad() as load:

        def phases() -> Iterator[Phase]:
            left_s, busy = seconds, False
            while left_s > 0:
                length_s = min(left_s, rng.uniform(4, 15))
                yield length_s, lambda busy=busy: load.set(4 if busy else 0)  # type: ignore[misc]
                left_s, busy = left_s - length_s, not busy

        yield phases()


@contextmanager
def stairs(seconds: float) -> Iterator[Iterator[Phase]]:
    """Start more and more processes that burn, and then fewer again."""
    counts = (0, 1, 2, 3, 5, 3, 2, 1, 0, 4)
    with CpuLoad() as load:
        yield ((seconds / len(counts), lambda n=n: load.set(n)) for n in counts)  # type: ignore[misc]


@contextmanager
def quotas(seconds: float) -> Iterator[Iterator[Phase]]:
    """Limit the process to hundredths of a core."""
    shares = (200, 60, 200, 35, 80, 200, 50, 100)
    _CPU.mkdir(exist_ok=True)
    (_CPU / "cpu.cfs_period_us").write_text("20000")
    (_CPU / "cgroup.procs").write_text(str(os.getpid()))

    def limit(share: int) -> None:
        (_CPU / "cpu.cfs_quota_us").write_text(str(200 * share))

    try:
        yield ((seconds / len(shares), lambda share=share: limit(share)) for share in shares)  # type: ignore[misc]
    finally:
        (_CPU.parent / "cgroup.procs").write_text(str(os.getpid()))
        _CPU.rmdir()


@contextmanager
def memory(seconds: float, room_mb: int = 500) -> Iterator[Iterator[Phase]]:
    """Another process of the same control group takes most of the memory that its limit leaves, and frees it."""
    taken = (0, room_mb - 40, 0, room_mb - 90, room_mb - 60, 0)
    _MEMORY.mkdir(exist_ok=True)
    (_MEMORY / "cgroup.procs").write_text(str(os.getpid()))
    hogs: list[subprocess.Popen[bytes]] = []

    def take(megabytes: int) -> None:
        if not hogs and megabytes == 0:
            used = int((_MEMORY / "memory.usage_in_bytes").read_text())
            (_MEMORY / "memory.limit_in_bytes").write_text(str(used + room_mb * 10**6))
        while hogs:
            hogs.pop().kill()
        if megabytes:
            hogs.append(subprocess.Popen([sys.executable, "-c", _HOG, str(megabytes * 10**6)]))

    try:
        yield ((seconds / len(taken), lambda mb=mb: take(mb)) for mb in taken)  # type: ignore[misc]
    finally:
        take(0)
        (_MEMORY / "memory.limit_in_bytes").write_text("-1")
        (_MEMORY.parent / "cgroup.procs").write_text(str(os.getpid()))
        time.sleep(0.5)
        _MEMORY.rmdir()


KINDS = {"bursts": bursts, "stairs": stairs, "quotas": quotas, "memory": memory}


def recorded(palette: Palette, subnets: Sequence[str], feeds: Feeds, folder: Path, seconds: float) -> dict[str, Trace]:
    """Record each kind, unless it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for kind, load in KINDS.items():
        path = folder / f"{kind}.npz"
        if not path.exists():
            with load(seconds) as phases:
                record(palette, subnets, feeds, phases).save(path)
            output.log(f"recorded {kind}")
        found[kind] = Trace.load(path)
    return found
