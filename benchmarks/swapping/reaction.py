"""Measure how soon a fitting subnet answers after the machine changes, and what a swap costs nearby requests.

Claims: from a step in load, or in free memory, to the first answer by a subnet that fits: at most two intervals plus a
subnet's load time, and at most 1 s. The swap itself takes at most 100 µs at the median. While subnets load in the
background, a client that is busy for half of its time sees a p99 of at most twice that without.

The budget limits p95: a subnet fits until two of its last twenty answers exceed the budget. That may be a while after
the load begins, or never, since a client that sleeps is not slowed at once. Real processes burn the CPU. A real
process takes memory in a control group with a limit (version 1, if it can be written to).

Needs: a palette with a profile of this machine
Takes: about 10 minutes
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.latency.overhead import Feeds, feeds_of
from benchmarks.shared import output
from benchmarks.shared.arguments import PaletteFolder, Repeats
from edgedistill.demo.load import CpuLoad
from edgedistill.demo.serve import budget_for
from edgedistill.errors import EdgeDistillError
from edgedistill.palette import Palette, load
from edgedistill.runtime import AdaptiveSession, Policy
from edgedistill.runtime.onnx import OnnxSession, create_session, usable_cores
from edgedistill.runtime.profiles import choose_profile
from edgedistill.runtime.residents import Residents

INTERVAL_S = 0.25
QUIET_S = 5.0
LONGEST_S = 10.0
EXCHANGES = 200
OVERLAPPING = 2000
_GROUP = Path("/sys/fs/cgroup/memory/edgedistill-reaction")
_TRIES = 3  # times the repeats asked for
_ROOM_MB = 600  # of the group's limit over what is used before
_HOG = "import sys, time; held = bytearray(int(sys.argv[1])); print('held', flush=True); time.sleep(60)"


class Client:
    """One after another, busy for half of the time; remembers when each request ran, and what answered."""

    def __init__(self, session: AdaptiveSession, feeds: Feeds) -> None:
        self._session, self._feeds = session, feeds
        self.answers: list[tuple[float, float, str]] = []

    def ask(self) -> str:
        """Send one request, and rest as long."""
        start_s = time.perf_counter()
        subnet = self._session.answer(None, self._feeds).subnet
        end_s = time.perf_counter()
        self.answers.append((start_s, end_s, subnet))
        time.sleep(end_s - start_s)
        return subnet

    def until(self, done: Callable[[str], bool], limit_s: float) -> float | None:
        """Seconds until an answer that is as wanted; None where none came in time."""
        start_s = time.perf_counter()
        while (now_s := time.perf_counter() - start_s) < limit_s:
            if done(self.ask()):
                return time.perf_counter() - start_s
        return None if now_s >= limit_s else now_s


Step = tuple[float | None, float | None]


def steps(
    palette: Palette, disturb: Callable[[], Any], repeats: int, late_ms: float | None = None, **options: Any
) -> list[Step]:
    """Seconds from each disturbance to the first answer by another subnet; and from when what served fits no more.

    Where the smallest serves already, there is none to go to, and it is tried again.
    """
    smallest = min(palette.manifest.subnets, key=lambda entry: entry.macs).name
    largest = max(palette.manifest.subnets, key=lambda entry: (entry.macs, entry.precision)).name
    best = max(palette.manifest.subnets, key=lambda entry: entry.score("validation")).name
    found: list[Step] = []
    for _ in range(_TRIES * repeats):
        if len(found) == repeats:
            break
        with AdaptiveSession(palette, interval_s=INTERVAL_S, **options) as session:
            client = Client(session, feeds_of(palette))
            client.until(lambda _: False, QUIET_S)
            before = session.active
            if before == smallest:
                continue
            client.answers.clear()
            with disturb():
                took_s = client.until(lambda subnet, before=before: subnet != before, LONGEST_S)  # type: ignore[misc]
            since_s = misfit_s(client.answers, late_ms)
            found.append((took_s, client.answers[-1][1] - since_s if took_s and since_s else None))
            output.log(f"{before} (largest {largest}, best {best}): {found[-1]}, {session.decisions[-3:]}")
    return found


def misfit_s(answers: Sequence[tuple[float, float, str]], late_ms: float | None) -> float | None:
    """When the answer was asked for from which on more than one of twenty took longer than this; None for never."""
    if late_ms is None:
        return None
    late = [1e3 * (end_s - start_s) > late_ms for start_s, end_s, _ in answers]
    for place, (start_s, _, _) in enumerate(answers):
        if sum(late[max(0, place - 19) : place + 1]) > 1 and sum(late[place:]) > 0.05 * len(late[place:]):
            return start_s
    return None


@contextmanager
def burning() -> Iterator[None]:
    """Twice as many processes as there are cores."""
    with CpuLoad() as load:
        load.set(2 * usable_cores())
        yield


@contextmanager
def hogged(megabytes: int) -> Iterator[None]:
    """Start a process of the same control group that takes memory."""
    hog = subprocess.Popen([sys.executable, "-c", _HOG, str(megabytes * 10**6)], stdout=subprocess.PIPE)
    assert hog.stdout is not None
    hog.stdout.readline()
    try:
        yield
    finally:
        hog.kill()
        hog.wait()


@contextmanager
def limited() -> Iterator[int | None]:
    """Limit this process to a little over what it uses, and return the room; None where that cannot be."""
    try:
        _GROUP.mkdir(exist_ok=True)
        (_GROUP / "cgroup.procs").write_text(str(os.getpid()))
    except OSError as error:
        output.log(f"no control group for memory: {error}")
        yield None
        return
    used = int((_GROUP / "memory.usage_in_bytes").read_text())
    (_GROUP / "memory.limit_in_bytes").write_text(str(used + _ROOM_MB * 10**6))
    try:
        yield _ROOM_MB
    finally:
        (_GROUP / "memory.limit_in_bytes").write_text("-1")
        (_GROUP.parent / "cgroup.procs").write_text(str(os.getpid()))
        _GROUP.rmdir()


def beside_loads(palette: Palette) -> dict[str, Any]:
    """Compare requests during background loads with requests without, in turn, and time each swap."""
    windows: list[tuple[float, float]] = []
    exchanges: list[float] = []
    names = [entry.name for entry in palette.manifest.subnets if entry.precision == "fp32"]
    exchange = Residents.exchange

    def timed_exchange(self: Residents, fresh: Any) -> None:
        start_s = time.perf_counter()
        exchange(self, fresh)
        exchanges.append(1e6 * (time.perf_counter() - start_s))

    def create(subnet: str) -> OnnxSession:
        start_s = time.perf_counter()
        session = create_session(palette.graph_path(subnet), 1)
        windows.append((start_s, time.perf_counter()))
        return session

    Residents.exchange = timed_exchange  # type: ignore[method-assign]
    try:
        with AdaptiveSession(palette, create=create, interval_s=0.02) as session:
            client = Client(session, feeds_of(palette))
            quiet: list[tuple[float, float, str]] = []
            while len(exchanges) < EXCHANGES or _overlapping(client.answers, windows) < OVERLAPPING:
                client.answers, kept = [], client.answers
                client.until(lambda _: False, 3.0)
                quiet += client.answers
                client.answers = kept
                _with_loads(session, client, names, 3.0)
            loaded = [a for a in client.answers if any(a[0] < end and a[1] > start for start, end in windows)]
    finally:
        Residents.exchange = exchange  # type: ignore[method-assign]
    by_subnet = {name: _p99s(name, quiet, loaded) for name in {a[2] for a in quiet} & {a[2] for a in loaded}}
    return {
        "exchanges": len(exchanges),
        "exchange_us": [round(float(value), 1) for value in np.percentile(exchanges, [50, 90, 99])],
        "load_ms": [round(1e3 * float(v), 1) for v in np.percentile([b - a for a, b in windows], [50, 90, 99])],
        "requests_beside_loads": len(loaded),
        "requests_without": len(quiet),
        "p99_by_subnet": by_subnet,
    }


def _with_loads(session: AdaptiveSession, client: Client, names: list[str], seconds: float) -> None:
    """Pin one subnet after another, each as soon as the last one serves."""
    stop = threading.Event()

    def pins() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            session.pin(names[turn % len(names)])
            while session.active != names[turn % len(names)] and not stop.is_set():
                time.sleep(0.005)
        session.pin(names[0])

    thread = threading.Thread(target=pins)
    thread.start()
    client.until(lambda _: False, seconds)
    stop.set()
    thread.join()
    client.until(lambda subnet: subnet == names[0], LONGEST_S)
    session.pin(names[0])


def _overlapping(answers: list[tuple[float, float, str]], windows: list[tuple[float, float]]) -> int:
    return sum(any(a[0] < end and a[1] > start for start, end in windows) for a in answers)


def _p99s(name: str, *groups: list[tuple[float, float, str]]) -> dict[str, Any]:
    """Milliseconds of the 99th percentile without and beside loads, of the answers of one subnet."""
    values = [[1e3 * (end - start) for start, end, subnet in group if subnet == name] for group in groups]
    without, beside = (float(np.percentile(of, 99)) for of in values)
    return {
        "requests": [len(of) for of in values],
        "without_ms": round(without, 3),
        "beside_ms": round(beside, 3),
        "ratio": round(beside / without, 2),
    }


def main(palette_folder: PaletteFolder, repeats: Repeats = 5) -> None:
    """Measure every reaction, and save it."""
    palette = load(palette_folder)
    profile = choose_profile(palette)
    if profile is None or profile.kind != "measured":
        raise EdgeDistillError(
            f"{palette_folder} has no profile of this machine; run `edgedistill profile {palette_folder}` first"
        )
    budget_ms = budget_for(palette, profile, 16)
    busy = steps(palette, burning, repeats, budget_ms, max_latency_ms=budget_ms)
    with limited() as room_mb:
        policy = Policy(reserve_mb=200.0)
        full = None if room_mb is None else steps(palette, lambda: hogged(room_mb - 150), repeats, policy=policy)
    loads = beside_loads(palette)
    result = {
        "interval_s": INTERVAL_S,
        "budget_ms": round(budget_ms, 2),
        "load_step_s": [took_s for took_s, _ in busy],
        "first_late_s": [since_s for _, since_s in busy],
        "memory_step_s": None if full is None else [took_s for took_s, _ in full],
    }
    seconds = [since_s for _, since_s in busy if since_s is not None]
    output.log(f"median {median(seconds) if seconds else None} s")
    output.save_result("reaction", result | {"beside_loads": loads})
