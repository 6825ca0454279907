"""Whether memory comes back, stays in its budget, and lets the process live where the largest subnet cannot.

Claim: resident memory after 50 swaps is within 5 % of that after 2. While subnets are loaded and exchanged under a
budget, memory sampled every 10 ms is never above the process's own before any subnet, the budget, and what a load takes
on top. Under a hard control-group limit too small for the largest subnet the process is never killed, and a smaller
one serves: where the limit is there from the start, and where it is lowered under the largest, at once or by and by.
Where it is lowered before the smallest is in memory too, nothing can take over: then the largest lives and answers.

Every measurement is a fresh process with real onnxruntime sessions, one thread, real sensors. The subnets that may
serve are the largest and all of a lower score, so that the largest serves wherever it can. That a limit is too small
is shown: a process that only loads the largest, in the same way, is killed by it. Before a process starts in a group,
the palette is dropped from the page cache, so that the group pays for what it maps. Control groups are version 1, if
it can be written to; else that part is null. The palette needs a profile of this machine.

Usage: python benchmarks/memory_returns.py PALETTE [REPEATS]; default 3. The last line is one JSON object; the exit
code tells whether the claim held.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedistill.manifest import Palette, load
from edgedistill.runtime import AdaptiveSession
from edgedistill.runtime.costs import costs_for
from edgedistill.runtime.onnx import create_session, import_onnxruntime
from edgedistill.runtime.profiles import choose_profile
from edgedistill.runtime.selector import Candidate, smallest
from edgedistill.runtime.slowdown import Size

# Neither lab nor what imports it: its torch would hide the subnets in every process that is measured.

SWAPS = 50
COMPARED = (2, SWAPS)
MOST_CHANGE = 0.05
EXCHANGES = 24  # under a budget
SAMPLE_S = 0.01
REQUESTS = 250  # under a limit
FEWEST_ANSWERS = 200
INTERVAL_S = 0.25  # AdaptiveSession's default
SHARES = (0.5, 0.75)  # of what the largest takes, that a limit leaves over what the process has before
ROOM_MB = 300  # of a roomy limit
MARGIN_MB = 4  # left at once of a roomy limit
STEP_MB = 2  # by and by
STEP_S = 0.05
HELD_S = 3.0  # under the lowered limit, before the requests that are counted
LATE_S = 1.5  # between two looks of a runtime whose safety net is to be late
REST_S = 0.005  # between requests
BATCH = 4  # the larger of two kinds of requests
LIMIT_S = 600.0  # for anything that is waited for; a busy machine takes its time
_GROUPS = Path("/sys/fs/cgroup/memory")
_USUAL = Size(1, 64)  # by which the runtime tells the smallest
_ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'

Feeds = dict[str, NDArray[np.int64]]
Figures = dict[str, Any]
Lowering = Callable[[Path, float], Iterable[float]]


# In the processes that are measured.


def worker() -> int:
    """Do the job on the first line of standard input; a line of JSON for each thing that is told."""
    job = json.loads(sys.stdin.readline())
    palette = load(Path(job["palette"]))
    feeds = {name: np.array(ids, np.int64) for name, ids in job["feeds"].items()}
    import_onnxruntime()  # its own memory belongs to what there is before any subnet
    {"plain": plain, "swapped": swapped, "budgeted": budgeted, "served": served}[job["role"]](palette, feeds, job)
    return 0


def tell(what: Figures) -> None:
    """To the parent."""
    print(json.dumps(what), flush=True)


def ready() -> None:
    """Tell that nothing is loaded yet, and wait for the word to go on; peaks count from here."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    tell(memory_of("self"))
    sys.stdin.readline()


def memory_of(process: int | str) -> Figures:
    """Resident memory, its anonymous part and its peak, in 10⁶ bytes."""
    wanted = {"VmRSS:": "resident_mb", "RssAnon:": "anonymous_mb", "VmHWM:": "peak_mb"}
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    fields = [line.split() for line in lines]
    return {wanted[field[0]]: int(field[1]) * 1024 / 1e6 for field in fields if field and field[0] in wanted}


def plain(palette: Palette, feeds: Feeds, job: Figures) -> None:
    """The largest subnet alone, in the session that the runtime would make of it: it takes less than the defaults."""
    ready()
    session = create_session(palette.graph_path(job["largest"]), 1)
    for _ in range(REQUESTS):
        session.run(None, feeds)
    tell({"answers": {job["largest"]: REQUESTS}})


def swapped(palette: Palette, feeds: Feeds, job: Figures) -> None:
    """The largest in turns with each of the others, the smallest first; memory whenever one of these two serves."""
    ready()
    others = sorted((name for name in job["only"] if name != job["largest"]), key=lambda name: name != job["smallest"])
    after, alone = [], []
    with AdaptiveSession(palette, only=job["only"], threads=1, interval_s=0.05) as session:
        for turn in range(SWAPS // 2):
            other = others[turn % len(others)]
            serve_by(session, feeds, other)
            if other == job["smallest"]:
                alone.append(settled())
            serve_by(session, feeds, job["largest"])
            after.append(settled())
        tell({"swaps": session.swaps, "after": after, "alone": alone})


def budgeted(palette: Palette, feeds: Feeds, job: Figures) -> None:
    """The largest that may serve in turns with each of the others, under a budget."""
    ready()
    *others, largest = job["only"]
    options = {"max_memory_mb": job["budget_mb"], "only": job["only"], "threads": 1, "interval_s": 0.05}
    with AdaptiveSession(palette, **options) as session:
        for turn in range(EXCHANGES // 2):
            serve_by(session, feeds, others[turn % len(others)])
            serve_by(session, feeds, largest)
        tell({"swaps": session.swaps, "peak_mb": memory_of("self")["peak_mb"]})


def served(palette: Palette, feeds: Feeds, job: Figures) -> None:
    """Requests until the word comes, and then those that count."""
    ready()
    with AdaptiveSession(palette, only=job["only"], threads=1, interval_s=job["interval_s"]) as session:
        if job["stands_by"]:  # the smallest answers what the largest cannot in time, once it is in memory
            while session.answer(None, feeds, deadline_ms=1e-3).subnet != job["smallest"]:
                time.sleep(REST_S)
        tell({"serving": session.active})
        word = threading.Thread(target=sys.stdin.readline, daemon=True)
        word.start()
        before = Counter(ask(session, feeds) for _ in iter(word.is_alive, False))
        answers = Counter(ask(session, feeds) for _ in range(REQUESTS))
        reasons = Counter(str(record.reason) for record in session.decisions)
        tell({"before": before, "answers": answers, "reasons": reasons})


def ask(session: AdaptiveSession, feeds: Feeds) -> str:
    """One request and a rest; the subnet that answered."""
    subnet = session.answer(None, feeds).subnet
    time.sleep(REST_S)
    return subnet


def serve_by(session: AdaptiveSession, feeds: Feeds, subnet: str) -> None:
    """Requests while this one is loaded, and some larger ones by it."""
    end_s = time.monotonic() + LIMIT_S
    session.pin(subnet)
    while session.active != subnet:
        ask(session, feeds)
        if time.monotonic() > end_s:
            raise TimeoutError(f"{subnet} does not serve: {session.explain()}")
    batch = {name: np.tile(ids, (BATCH, 1)) for name, ids in feeds.items()}
    for _ in range(3):
        ask(session, batch)


def settled() -> Figures:
    """Memory once it has stayed as it is for three looks: what was exchanged goes in a step of its own."""
    looks = [memory_of("self")]
    while len(looks) < 3 or max(look["resident_mb"] for look in looks[-3:]) > looks[-1]["resident_mb"] + 0.1:
        time.sleep(0.1)
        looks.append(memory_of("self"))
    return looks[-1]


# In the parent.


class Worker:
    """A fresh process that does a job, in a control group where one is given."""

    def __init__(self, job: Figures, group: Path | None = None) -> None:
        command = [sys.executable, __file__, "--worker"]
        entered = command if group is None else ["sh", "-c", _ENTER, str(group), *command]
        self._process = subprocess.Popen(entered, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid
        self._timer = threading.Timer(LIMIT_S, self._process.kill)
        self._timer.daemon = True
        self._timer.start()
        self.say(json.dumps(job))

    def say(self, line: str = "go on") -> None:
        """One line; it may be gone."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()

    def hear(self) -> Figures | None:
        """What it tells next; None where it is gone."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found: Figures | None = json.loads(line) if line else None
        return found

    def told(self) -> Figures:
        """What it tells next, of one that nothing kills."""
        found = self.hear()
        if found is None:
            raise RuntimeError(f"a process that nothing limits has ended: {self._process.wait()}")
        return found

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()
        self._process.wait()
        self._timer.cancel()


class Samples:
    """A process's memory every 10 ms, from outside, where no load of its own holds it up."""

    def __init__(self, process: int) -> None:
        self._process, self._stop = process, threading.Event()
        self.at_s: list[float] = []
        self.found: list[Figures] = []
        self._thread = threading.Thread(target=self._sample)

    def _sample(self) -> None:
        next_s = time.monotonic()
        while not self._stop.is_set():
            with suppress(OSError):  # it may end before this does
                found = memory_of(self._process)
                if found:
                    self.at_s.append(time.monotonic())
                    self.found.append(found)
            next_s = max(next_s + SAMPLE_S, time.monotonic())
            time.sleep(max(0.0, next_s - time.monotonic()))

    def most(self, key: str) -> float:
        """The highest sample."""
        return max(float(found[key]) for found in self.found)

    def gaps_ms(self) -> list[float]:
        """The median time between two, and the longest."""
        gaps = np.diff(self.at_s) * 1e3
        return [round(float(gap), 1) for gap in (np.median(gaps), gaps.max())]

    def __enter__(self) -> Samples:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()


def spread(values: Iterable[float], digits: int = 2) -> list[float]:
    """Median, least and most."""
    known = list(values)
    return [round(value, digits) for value in (median(known), min(known), max(known))]


def returned(job: Figures, repeats: int) -> Figures:
    """Resident memory by the number of swaps."""
    runs = []
    for _ in range(repeats):
        with Worker(job | {"role": "swapped"}) as process:
            before = process.told()["resident_mb"]
            process.say()
            found = process.told()
        each = [look["resident_mb"] for look in found["after"]]
        first, last = (found["after"][swap // 2 - 1] for swap in COMPARED)
        runs.append({"before": before, "each": each, "first": first, "last": last} | found)
        say(f"{found['swaps']} swaps: {before:.1f} MB before any subnet, then {[round(mb, 1) for mb in each]}")
    resident = [tuple(run[when]["resident_mb"] for when in ("first", "last")) for run in runs]
    return {
        "swaps": [run["swaps"] for run in runs],
        "before_any_subnet_mb": spread(run["before"] for run in runs),
        "after_2_mb": spread(first for first, _ in resident),
        "after_50_mb": spread(last for _, last in resident),
        "ratio": spread((last / first for first, last in resident), 4),
        # Much of a process's memory does not change, whatever the subnets do.
        "ratio_of_what_came_since": spread(
            ((b - run["before"]) / (a - run["before"]) for run, (a, b) in zip(runs, resident, strict=True)), 4
        ),
        "anonymous_ratio": spread((run["last"]["anonymous_mb"] / run["first"]["anonymous_mb"] for run in runs), 4),
        "smallest_alone_ratio": spread(
            (run["alone"][-1]["resident_mb"] / run["alone"][0]["resident_mb"] for run in runs), 4
        ),
        # In between too: the claim is of one moment, which may be a lucky one.
        "most_after_any_ratio": spread((max(run["each"]) / run["each"][0] for run in runs), 4),
        "beyond": [sum(mb > (1 + MOST_CHANGE) * run["each"][0] for mb in run["each"]) for run in runs],
        "after_each_mb": [[round(mb, 1) for mb in run["each"]] for run in runs],
    }


def within(job: Figures, subnets: list[Candidate], budget_mb: float | None, on_top_mb: float, repeats: int) -> Figures:
    """The highest memory under a budget, over what it allows; without a budget, for comparison."""
    runs = []
    for _ in range(repeats):
        names = [subnet.name for subnet in subnets]
        with Worker(job | {"role": "budgeted", "budget_mb": budget_mb, "only": names}) as process:
            before = process.told()["resident_mb"]
            with Samples(process.pid) as samples:
                process.say()
                found = process.told()
        taken, peak = samples.most("resident_mb") - before, found["peak_mb"] - before
        runs.append({"taken": taken, "peak": peak, "before": before, "samples": samples} | found)
        say(f"budget {budget_mb}: {before:.1f} MB before, {taken:.1f} more at most, {peak:.1f} by the kernel's peak")
    return {
        "subnets": len(subnets),
        "largest": subnets[-1].name,
        "budget_mb": budget_mb,
        "a_load_on_top_mb": round(on_top_mb, 2),
        "swaps": [run["swaps"] for run in runs],
        "before_any_subnet_mb": spread(run["before"] for run in runs),
        "most_taken_mb": spread(run["taken"] for run in runs),
        "most_taken_by_the_kernel_mb": spread(run["peak"] for run in runs),
        # Negative: so much was left of the budget alone.
        "excess_mb": None if budget_mb is None else spread(run["taken"] - budget_mb for run in runs),
        "samples": sum(len(run["samples"].found) for run in runs),
        "sample_gaps_ms": [run["samples"].gaps_ms() for run in runs],
    }


def budgets(palette: Palette, job: Figures, subnets: list[Candidate], repeats: int) -> list[Figures]:
    """Just enough for the largest, and for the middle one, beside the smallest; and none."""
    profile = choose_profile(palette)
    assert profile is not None
    on_top = {found.subnet: found.peak_mb - found.steady_mb for found in profile.subnets}
    floor = smallest(subnets)
    found = []
    for largest in (subnets[-1], subnets[len(subnets) // 2]):
        budget_mb = round(largest.memory_mb + floor.memory_mb + 1)
        fitting = [s for s in subnets if s is floor or s.memory_mb <= largest.memory_mb]
        most_on_top = max(on_top[subnet.name] for subnet in fitting)
        found.append(within(job, fitting, budget_mb, most_on_top, repeats))
    return [*found, within(job, subnets, None, 0.0, repeats)]


@contextmanager
def group() -> Iterator[Path | None]:
    """An empty control group for memory; None where that cannot be."""
    folder = _GROUPS / f"edgedistill-memory-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        say(f"no control group for memory: {error}")
        yield None
        return
    try:
        yield folder
    finally:
        end_s = time.monotonic() + 10
        while True:
            try:
                folder.rmdir()
                break
            except OSError:  # who was in it takes a moment to go
                if time.monotonic() > end_s:
                    raise
                time.sleep(0.05)


def uncache(palette: Palette) -> None:
    """Drop the palette from the page cache: whoever reads it next pays for it."""
    for path in palette.folder.iterdir():
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def stat_of(folder: Path) -> dict[str, int]:
    """The group's counters, in bytes."""
    lines = (folder / "memory.stat").read_text().splitlines()
    return {name: int(value) for name, value in (line.split() for line in lines)}


def limit_to(folder: Path, size: float) -> bool:
    """Set the limit; False where the kernel finds too little to take back."""
    try:
        (folder / "memory.limit_in_bytes").write_text(str(int(size)))
    except OSError:
        return False
    return True


def lower(folder: Path, process: Worker, limits: Iterable[float]) -> bool:
    """Set one limit after the other, each as soon as the kernel takes it; whether the last one is."""
    for limit in limits:
        end_s = time.monotonic() + LIMIT_S / 4
        while not limit_to(folder, limit):
            if not process.is_alive or time.monotonic() > end_s:
                return False
            time.sleep(0.02)
        time.sleep(STEP_S)
    return True


def at_once(folder: Path, target: float) -> Iterator[float]:
    """A few MB over what cannot be taken back, and then the target."""
    stat = stat_of(folder)
    used = int((folder / "memory.usage_in_bytes").read_text())
    yield used - stat["cache"] + MARGIN_MB * 1e6
    yield target


def early(folder: Path, target: float) -> Iterator[float]:
    """A few MB over what cannot be taken back, before the smallest is in memory too; no lower, since nothing can go."""
    yield next(at_once(folder, target))


def by_and_by(folder: Path, target: float) -> Iterator[float]:
    """From what is used down to the target."""
    limit = float((folder / "memory.usage_in_bytes").read_text()) + 16 * STEP_MB * 1e6
    while limit > target:
        yield limit
        limit -= STEP_MB * 1e6
    yield target


def limited(palette: Palette, job: Figures, limit: float, lowering: Lowering | None = None) -> Figures:
    """How one process fares under the limit: from the start, or lowered to it while it serves."""
    uncache(palette)
    with group() as folder:
        assert folder is not None
        limit_to(folder, limit if lowering is None else limit + ROOM_MB * 1e6)
        with Worker(job, folder) as process:
            process.hear()
            process.say()
            serving = process.hear() if job["role"] == "served" else None
            reached, lowered_s = True, 0.0
            if lowering is not None:
                start_s = time.monotonic()
                reached = lower(folder, process, lowering(folder, limit))
                lowered_s = time.monotonic() - start_s
                time.sleep(HELD_S)
            process.say()
            found = process.hear()
        kills = (folder / "memory.oom_control").read_text().split()
        most = int((folder / "memory.max_usage_in_bytes").read_text())
    is_killed = int(kills[kills.index("oom_kill") + 1]) > 0
    if found is None and not is_killed:
        raise RuntimeError("a process has ended that its limit did not kill")
    fate = {
        "is_killed": is_killed,
        "first": None if serving is None else serving["serving"],
        "reached": reached,
        "lowered_s": round(lowered_s, 2),
        "most_mb": round(most / 1e6, 1),
        **(found or {"answers": {}}),
    }
    say(f"{job['role']}, {limit / 1e6:.1f} MB {'' if lowering is None else lowering.__name__}: {fate}")
    return fate


def summed(runs: list[Figures]) -> Figures:
    """Of several processes."""
    answers = sum((Counter(run["answers"]) for run in runs), Counter[str]())
    return {
        "processes": len(runs),
        "killed": sum(run["is_killed"] for run in runs),
        "reached": all(run["reached"] for run in runs),
        "first": sorted({run["first"] for run in runs if run["first"] is not None}),
        "fewest_answers": min(sum(run["answers"].values()) for run in runs),
        "answers": dict(answers),
        "most_mb": spread((run["most_mb"] for run in runs), 1),
        "lowered_s": spread(run["lowered_s"] for run in runs),
    }


def need(job: Figures) -> tuple[float, float]:
    """Anonymous memory of a process before and while it loads and runs the largest, in bytes: it cannot be dropped."""
    with Worker(job | {"role": "plain"}) as process:
        before = process.told()["anonymous_mb"]
        with Samples(process.pid) as samples:
            process.say()
            process.told()
    return before * 1e6, samples.most("anonymous_mb") * 1e6


def under_limits(palette: Palette, job: Figures, repeats: int) -> Figures | None:
    """The largest alone, and the runtime, under the same limits; None where there are no control groups."""
    with group() as folder:
        if folder is None:
            return None
    needs = [need(job) for _ in range(repeats)]
    before, most = (median(values) for values in zip(*needs, strict=True))
    alone = job | {"role": "plain"}
    ours = job | {"role": "served", "interval_s": INTERVAL_S, "stands_by": False}
    late = ours | {"interval_s": LATE_S}

    def fared(limit: float, kinds: dict[str, tuple[Figures, Lowering | None]]) -> Figures:
        runs = {kind: [limited(palette, of, limit, how) for _ in range(repeats)] for kind, (of, how) in kinds.items()}
        return {"limit_mb": round(limit / 1e6, 1)} | {kind: summed(of) for kind, of in runs.items()}

    return {
        "before_any_subnet_mb": spread(b / 1e6 for b, _ in needs),
        "with_the_largest_mb": spread(m / 1e6 for _, m in needs),
        "shares_of_the_largest": {
            f"{share:g}": fared(
                before + share * (most - before),
                {
                    "the largest alone": (alone, None),
                    "from the start": (ours, None),
                    "lowered at once": (ours | {"stands_by": True}, at_once),
                    "lowered by and by": (ours | {"stands_by": True}, by_and_by),
                },
            )
            for share in SHARES
        },
        # Beside it, the same where there is nothing else to load: so much memory is enough for what serves.
        "before_the_safety_net": fared(
            most, {"all": (late, early), "the largest only": (late | {"only": [job["largest"]]}, early)}
        ),
    }


def held(result: Figures) -> bool:
    """The claim, of what could be measured."""
    _, least, most = result["swapped"]["ratio"]
    comes_back = least >= 1 - MOST_CHANGE and most <= 1 + MOST_CHANGE
    within_budget = all(
        of["excess_mb"] is None or of["excess_mb"][2] <= of["a_load_on_top_mb"] for of in result["budgets"]
    )
    return comes_back and within_budget and (result["limits"] is None or _lives(result["limits"], result["largest"]))


def _lives(limits: Figures, largest: str) -> bool:
    """The largest alone dies of each limit each time; ours never, and answers, by a smaller one where that can be."""
    shares = limits["shares_of_the_largest"].values()
    alone = [under["the largest alone"] for under in shares]
    ours = [under[kind] for under in shares for kind in ("from the start", "lowered at once", "lowered by and by")]
    early_ones = [limits["before_the_safety_net"][kind] for kind in ("all", "the largest only")]
    return (
        all(of["killed"] == of["processes"] for of in alone)
        and all(of["killed"] == 0 and of["fewest_answers"] >= FEWEST_ANSWERS for of in (*ours, *early_ones))
        and all(of["reached"] and largest not in of["answers"] for of in ours)
    )


def say(text: str) -> None:
    """A line of progress."""
    from lab import say as to_stderr

    to_stderr(text)


def main(palette_folder: str, repeats: str = "3") -> int:
    """All three parts; keep the figures."""
    import lab
    from overhead import feeds_of

    palette = load(Path(palette_folder))
    profile = choose_profile(palette)
    if profile is None or profile.kind != "measured":
        sys.exit(f"{palette_folder} has no profile of this machine; run 'edgedistill profile {palette_folder}'")
    every = sorted(costs_for(palette.manifest, profile).candidates(_USUAL), key=lambda subnet: subnet.memory_mb)
    largest = every[-1]
    subnets = [subnet for subnet in every if subnet is largest or subnet.quality < largest.quality]
    if len(subnets) < 2:
        sys.exit(f"every other subnet of {palette_folder} scores better than the largest, which would never serve")
    job = {
        "palette": str(palette.folder),
        "feeds": {name: ids.tolist() for name, ids in feeds_of(palette).items()},
        "only": [subnet.name for subnet in subnets],
        "largest": largest.name,
        "smallest": smallest(subnets).name,
    }
    result = {
        "repeats": int(repeats),
        "subnets": {subnet.name: subnet.memory_mb for subnet in subnets},
        "largest": largest.name,
        "smallest": smallest(subnets).name,
        "swapped": returned(job, int(repeats)),
        "budgets": budgets(palette, job, subnets, int(repeats)),
        "limits": under_limits(palette, job, int(repeats)),
    }
    is_held = held(result)
    lab.keep("memory-returns", result | {"held": is_held})
    return 0 if is_held else 1


if __name__ == "__main__":
    sys.exit(worker() if sys.argv[1:] == ["--worker"] else main(*sys.argv[1:]))
