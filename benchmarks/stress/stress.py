"""Serve requests from threads and event loops while subnets swap and everything else fails.

Claim: ten minutes of requests from eight threads and eight asyncio tasks hold at least 500 swaps, by pins and by the
session's own decisions next to processes that burn the CPU. Each of these happens at least three times: a load raises,
hangs, or finds no memory (MemoryError, onnxruntime's own failure); a run raises, or finds none; the smallest subnet
fails while another serves; a graph's file is removed; a new palette arrives, or one of five broken ones; a sensor
raises or blocks, or all of them do. Every request is answered once, by the subnet and the palette that the answer
names, and equals a plain onnxruntime session of that graph to 1e-6. No file stays open. The exit code is 1 if the
claim does not hold.

A shorter run needs fewer of each, in proportion. A stand-in for onnxruntime's session fails loads and runs; else it is
the real one. A failure counts once it has led to what it should. Runs fail only where another subnet is in memory: a
subnet that serves alone has no replacement.

Needs: a palette of eight subnets or more, of any task but sentence-embedding; it is copied
Takes: 10 minutes, or --seconds
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count, cycle
from pathlib import Path
from statistics import median
from typing import Annotated, Any
from unittest.mock import patch

import onnxruntime
import psutil
import typer

from benchmarks.shared import output
from benchmarks.shared.arguments import PaletteFolder
from benchmarks.stress.stress_clients import (
    TASKS,
    THREADS,
    Client,
    World,
    check_distinct,
    crowd,
    make_feeds,
    plain_answers,
    tally,
)
from benchmarks.stress.stress_failures import FAILURES, HANG_S, FailingSensors, Faults
from benchmarks.stress.stress_palettes import as_bytes, broken_manifests, other_palette
from edgedistill.demo.load import CpuLoad
from edgedistill.errors import EdgeDistillError
from edgedistill.exporters.export_folder import put
from edgedistill.palette import MANIFEST_NAME, Palette, load
from edgedistill.runtime import AdaptiveSession, DecisionRecord, Policy, Reason
from edgedistill.runtime.control import execute, failures
from edgedistill.runtime.onnx import usable_cores

FULL_S, FEWEST_SWAPS, FEWEST_EACH = 600.0, 500, 3
FEWEST_SUBNETS = 8  # some are left alone after their failures

LOAD_LIMIT_S = 5.0  # in place of a minute, so that a load that overruns it can be waited for
WAIT_S = 30.0
WARM_S = 4.0
PINS_S = 8.0
BURN_S = 6.0
ROOM = 1.3  # of the latency budget over what is usual


def until(condition: Callable[[], bool], limit_s: float = WAIT_S) -> bool:
    """Wait, and return whether the condition came true in time."""
    end_s = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.005)
    return True


class Told:
    """Counts the decisions that the session tells, by reason and subnet."""

    def __init__(self) -> None:
        self.seen: Counter[tuple[Reason, str]] = Counter()

    def __call__(self, record: DecisionRecord) -> None:
        """Count one more."""
        self.seen[record.reason, record.subnet] += 1

    def of(self, reason: Reason, subnet: str | None = None) -> int:
        """Return how often it was the reason, for that subnet or any."""
        return sum(n for (why, name), n in list(self.seen.items()) if why is reason and subnet in (None, name))


class Conductor:
    """Brings on one thing after another, and counts those that came to what they should."""

    def __init__(self, session: AdaptiveSession, faults: Faults, sensors: FailingSensors, told: Told) -> None:
        self._session, self._faults, self._sensors, self._told = session, faults, sensors, told
        self.injected: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self.decided = 0
        self._turns = count()
        self._left_alone: set[str] = set()  # until the next palette

    def _note(self, kind: str, happened: bool) -> None:
        (self.injected if happened else self.missed)[kind] += 1
        output.log(f"{kind}: {'done' if happened else 'MISSED'}; {self._session.active}, {self._session.swaps} swaps")

    def _next(self, *, loaded: bool) -> str:
        """Return the next subnet that is not active, not left alone, and unless ``loaded`` not in memory."""
        while True:
            for name in self._session.subnets[next(self._turns) % len(self._session.subnets) :]:
                is_free = name not in self._left_alone and name != self._session.active
                if is_free and (loaded or name not in self._session._controller.residents.names):
                    return name

    def _graph(self, subnet: str) -> Path:
        return self._session.palette.graph_path(subnet)

    def _serve(self, subnet: str) -> bool:
        """Pin it; whether it serves in time."""
        self._session.pin(subnet)
        return until(lambda: self._session.active == subnet)

    def pins(self, seconds: float = PINS_S) -> None:
        """Pin one subnet after another, each as soon as the one before is active."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            subnet = self._next(loaded=True)
            if not self._serve(subnet):
                self._note(f"{subnet} is pinned", happened=False)

    def decisions(self) -> None:
        """Let the session decide by itself, next to processes that burn the CPU and without."""
        before = self._session.swaps
        self._session.pin(None)
        with CpuLoad() as burning:
            for processes in (2 * usable_cores(), 0):
                burning.set(processes)
                time.sleep(BURN_S)
        self.decided += self._session.swaps - before

    def load_fails(self, kind: str, how: Callable[[], None]) -> None:
        """Fail a load: the active subnet goes on, and another one can be loaded afterwards."""
        subnet = self._next(loaded=False)
        self._faults.arm("load", self._graph(subnet).name, how)
        failed = self._fails_to_load(subnet)
        met = self._faults.disarm()
        self._note(kind, failed and met and self._serve(self._next(loaded=False)))

    def _fails_to_load(self, subnet: str) -> bool:
        before = self._told.of(Reason.LOAD_FAILED, subnet)
        self._session.pin(subnet)
        return until(lambda: self._told.of(Reason.LOAD_FAILED, subnet) > before)

    def graph_removed(self) -> None:
        """Remove a graph for a while."""
        subnet = self._next(loaded=False)
        copied, original = self._graph(subnet), self._session.palette.folder / self._graph(subnet).name
        away = [graph.rename(graph.with_name("away")) for graph in (copied, original)]
        failed = self._fails_to_load(subnet)
        for path, graph in zip(away, (copied, original), strict=True):
            path.rename(graph)
        self._note("a graph is removed", failed and self._serve(self._next(loaded=False)))

    def run_fails(self, kind: str, how: Callable[[], None]) -> None:
        """Fail a run: some request meets it, and the smallest answers."""
        subnet = self._next(loaded=False)
        self._note(kind, self._serve(subnet) and self._has_net() and self._fails_at_a_run(subnet, how))

    def net_fails(self) -> None:
        """Fail the smallest: a request in a hurry meets it, and the active subnet answers."""
        serves = self._serve(self._next(loaded=False)) and self._has_net()
        net = self._session._controller.residents.fallback
        self._note(
            "the smallest fails", serves and net is not None and self._fails_at_a_run(net.name, FAILURES["an error"])
        )

    def _has_net(self) -> bool:
        """Wait, and return whether another subnet stands by; it loads in the background like any other."""
        residents = self._session._controller.residents
        return until(lambda: residents.fallback is not None and residents.fallback is not residents.live)

    def _fails_at_a_run(self, subnet: str, how: Callable[[], None]) -> bool:
        before = self._told.of(Reason.QUARANTINED, subnet)
        self._left_alone.add(subnet)
        self._faults.arm("run", self._graph(subnet).name, how)
        left_alone = until(lambda: self._told.of(Reason.QUARANTINED, subnet) > before)
        return self._faults.disarm() and left_alone

    def put_in_place(self, palettes: Iterator[Palette]) -> None:
        """Put a new palette in place: it is served, and a pin on a subnet that it lacks ends."""
        self._session.pin(self._session.subnets[0])
        fresh = next(palettes).manifest
        put(self._session.palette.folder / MANIFEST_NAME, as_bytes(fresh))
        self._note("a new palette", until(lambda: self._session.palette.manifest.digest == fresh.digest))
        self._left_alone.clear()

    def put_broken(self, manifests: Iterator[tuple[str, bytes]]) -> None:
        """Put a broken palette in place: it is refused, and the old one goes on."""
        old, before = self._session.palette, self._told.of(Reason.RELOAD_FAILED)
        kind, manifest = next(manifests)
        put(old.folder / MANIFEST_NAME, manifest)
        refused = until(lambda: self._told.of(Reason.RELOAD_FAILED) > before)
        self._note(kind, refused and self._session.palette is old)

    def sensors_fail(self, kind: str, how: Callable[[], None]) -> None:
        """Decisions go on without them."""
        self._sensors.next = how
        self._note(kind, until(lambda: self._sensors.next is None))


def scenes(of: Conductor, palettes: Iterator[Palette], broken: dict[str, bytes]) -> list[Callable[[], None]]:
    """Return a round: every failure, with pins in between."""
    manifests = cycle(broken.items())
    refused = [step for _ in broken for step in (partial(of.put_broken, manifests), partial(of.pins, 1.0))]
    loads = [partial(of.load_fails, f"a load: {kind}", how) for kind, how in FAILURES.items()]
    runs = [partial(of.run_fails, f"a run: {kind}", how) for kind, how in FAILURES.items()]
    renewed = partial(of.put_in_place, palettes)
    return [
        of.pins,
        *loads,
        of.pins,
        *runs,
        of.net_fails,
        of.decisions,
        renewed,
        of.pins,
        partial(of.load_fails, "a load hangs", partial(time.sleep, HANG_S)),
        of.pins,
        *refused,
        renewed,
        of.graph_removed,
        of.pins,
        partial(of.sensors_fail, "all sensors raise", FAILURES["an error"]),
        partial(of.sensors_fail, "all sensors block", partial(time.sleep, 1.0)),
    ]


@contextmanager
def watched() -> Iterator[Callable[[], int]]:
    """Count the most threads of this process within the block."""
    process, stop, most = psutil.Process(), threading.Event(), [0]

    def watch() -> None:
        while not stop.wait(0.1):
            most[0] = max(most[0], process.num_threads())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: most[0]
    finally:
        stop.set()
        thread.join()


def usual_ms(folder: Path, world: World) -> float:
    """Return the p95 that a session expects of its best subnet with the same clients and nothing else."""
    clients = [Client(seed) for seed in range(THREADS + TASKS)]
    found = list[float]()
    with AdaptiveSession(folder, threads=1) as session, crowd(session, world, clients):
        end_s = time.monotonic() + WARM_S
        while time.monotonic() < end_s or not found:
            time.sleep(0.1)
            latest = session._controller.decisions.latest
            expected = latest.expected if latest is not None else ()
            found += [of.p95_ms for of in expected if of.subnet == session.active and of.p95_ms is not None]
    return median(found)


@contextmanager
def short_loads() -> Iterator[None]:
    """Give loads less time within the block, so that one that overruns its limit can be waited for."""
    with patch.object(execute, "LOAD_LIMIT_S", LOAD_LIMIT_S), patch.object(failures, "LOAD_LIMIT_S", LOAD_LIMIT_S):
        yield


def stress(folder: Path, seconds: float) -> dict[str, Any]:
    """Run all of it on this folder, which is changed."""
    palette = load(folder)
    other = other_palette(palette)
    broken = broken_manifests(palette)
    feeds = make_feeds(palette)
    world = World(feeds, plain_answers(palette, feeds) | plain_answers(other, feeds))
    check_distinct(world.expected)
    budget_ms = ROOM * usual_ms(folder, world)
    output.log(f"prepared; the budget is {budget_ms:.1f} ms")
    # Pins are swaps too, and would use up what a minute may have.
    policy = Policy(max_latency_ms=budget_ms, max_swaps_per_minute=10**6)
    faults, sensors, told = Faults(), FailingSensors(), Told()
    clients = [Client(seed) for seed in range(THREADS + TASKS)]
    files = psutil.Process().num_fds()
    with (
        watched() as most_threads,
        patch.object(onnxruntime, "InferenceSession", faults.session()),
        short_loads(),
        AdaptiveSession(palette, policy=policy, threads=1, sensors=sensors, on_decision=told) as session,
    ):
        conductor = Conductor(session, faults, sensors, told)
        with crowd(session, world, clients):
            conduct(scenes(conductor, cycle([other, palette]), broken), seconds)
        swaps = session.swaps
    for line in sorted({error for client in clients for error in client.errors}):
        output.log(line)
    return {
        "seconds": seconds,
        "clients": {"threads": THREADS, "tasks": TASKS},
        **tally(clients),
        "budget_ms": round(budget_ms, 2),
        "swaps": {"all": swaps, "decided": conductor.decided},
        "injected": dict(conductor.injected + sensors.met),
        "missed": dict(conductor.missed),
        "most_threads": most_threads(),
        "open_files": {"start": files, "end": psutil.Process().num_fds()},
    }


def conduct(steps: list[Callable[[], None]], seconds: float) -> None:
    """Run one round at least, and then until the time is over."""
    end_s = time.monotonic() + seconds
    for turn, step in enumerate(cycle(steps)):
        if turn >= len(steps) and time.monotonic() > end_s:
            return
        step()


KINDS = (
    *(f"{what}: {kind}" for what in ("a load", "a run") for kind in FAILURES),
    "a load hangs",
    "the smallest fails",
    "a graph is removed",
    "a new palette",
    "an altered manifest",
    "half a manifest",
    "a wrong hash",
    "a graph that does not load",
    "other answers",
    "a sensor raises",
    "a sensor blocks",
    "all sensors raise",
    "all sensors block",
)


def held(figures: dict[str, Any]) -> bool:
    """Return whether the claim held, or as much of it as there was time for."""
    share = min(1.0, figures["seconds"] / FULL_S)
    fewest = max(1, round(share * FEWEST_EACH))
    return bool(
        figures["lost"] == figures["wrong"] == figures["unknown"] == 0
        and figures["swaps"]["all"] >= share * FEWEST_SWAPS
        and figures["swaps"]["decided"] >= fewest
        and all(figures["injected"].get(kind, 0) >= fewest for kind in KINDS)
        and not figures["missed"]
        and figures["open_files"]["end"] <= figures["open_files"]["start"]
    )


def main(
    palette_folder: PaletteFolder, seconds: Annotated[float, typer.Option(min=1, help="length of the run")] = FULL_S
) -> int:
    """Stress a copy of the palette, and save the figures."""
    palette = load(palette_folder)
    if len(palette.manifest.subnets) < FEWEST_SUBNETS or palette.manifest.task == "sentence-embedding":
        raise EdgeDistillError(
            f"{palette_folder} cannot be stressed: expected {FEWEST_SUBNETS} subnets or more, and no sentence encoder"
        )
    with tempfile.TemporaryDirectory() as work:
        figures = stress(Path(shutil.copytree(palette_folder, Path(work) / "palette")), seconds)
    output.save_result("stress", figures)
    return 0 if held(figures) else 1
