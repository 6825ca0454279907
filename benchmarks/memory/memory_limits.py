"""Measure how a process fares under the hard limit of a control group (version 1), for memory_returns.py.

The palette is dropped from the page cache before each process starts, so that the group pays for what it maps.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.memory.memory_worker import Figures, Worker
from benchmarks.shared import output
from edgedistill.palette import Palette

SHARES = (0.5, 0.75)  # of what the largest takes, that a limit leaves over what the process has before
_ROOM = 300e6  # of a roomy limit, in bytes as everything here
_MARGIN = 4e6  # left at once of a roomy limit; with much less, a request under way does not come to its end
_STEP = 2e6  # by and by
_STEP_S = 0.05
_HELD_S = 3.0  # under the lowered limit, before the requests that are counted
_LOOK_S = 0.02
_GROUPS = Path("/sys/fs/cgroup/memory")

Lowering = Callable[[Path, float], list[float]]


def under_limits(palette: Palette, job: Figures, repeats: int) -> Figures | None:
    """Run the largest alone, and the runtime, under the same limits; return None where there are no control groups."""
    if not os.access(_GROUPS, os.W_OK):
        return None
    needs = [_need(job) for _ in range(repeats)]
    before, most = (median(values) for values in zip(*needs, strict=True))
    ours = job | {"role": "served", "stands_by": False}
    lowered = ours | {"stands_by": True}
    kinds: dict[str, tuple[Figures, Lowering | None]] = {
        "the largest alone": (job | {"role": "plain"}, None),
        "from the start": (ours, None),
        "lowered at once": (lowered, _at_once),
        "lowered by and by": (lowered, _by_and_by),
    }

    def fared(limit: float) -> Figures:
        runs = {kind: [_limited(palette, of, limit, how) for _ in range(repeats)] for kind, (of, how) in kinds.items()}
        return {"limit_mb": round(limit / 1e6, 1)} | {kind: _summed(of) for kind, of in runs.items()}

    return {
        "before_any_subnet_mb": round(before / 1e6, 1),
        "with_the_largest_mb": round(most / 1e6, 1),
        "shares_of_the_largest": {f"{share:g}": fared(before + share * (most - before)) for share in SHARES},
    }


def _need(job: Figures) -> tuple[float, float]:
    """Anonymous memory of a process before and after it loads and runs the largest: it cannot be dropped."""
    with Worker(job | {"role": "plain"}) as process:
        before = process.hear()["anonymous_mb"]
        process.say()
        return before * 1e6, process.hear()["anonymous_mb"] * 1e6


@contextmanager
def _group() -> Iterator[Path]:
    """Make an empty control group for memory."""
    folder = _GROUPS / f"edgedistill-memory-{os.getpid()}"
    folder.mkdir()
    try:
        yield folder
    finally:
        while (folder / "cgroup.procs").read_text():
            time.sleep(_LOOK_S)  # who was in it takes a moment to go
        folder.rmdir()


def _limited(palette: Palette, job: Figures, limit: float, lowering: Lowering | None) -> Figures:
    """Run one process under the limit, from the start or lowered to it while it serves, and return how it fares."""
    _uncache(palette)
    with _group() as folder:
        _limit_to(folder, limit if lowering is None else limit + _ROOM)
        with Worker(job, folder) as process:
            process.hear()
            process.say()
            first = process.hear().get("first") if job["role"] == "served" else None
            reached = lowering is None or _lower(folder, process, lowering(folder, limit))
            process.say()
            answers = process.hear().get("answers", {})
        kills = (folder / "memory.oom_control").read_text().split()
    is_killed = int(kills[kills.index("oom_kill") + 1]) > 0
    if not answers and not is_killed:
        raise RuntimeError("a process has ended that its limit did not kill")
    fate = {"first": first, "is_killed": is_killed, "reached": reached, "answers": answers}
    output.log(f"{job['role']}, {limit / 1e6:.1f} MB {'' if lowering is None else lowering.__name__}: {fate}")
    return fate


def _uncache(palette: Palette) -> None:
    for path in palette.folder.iterdir():
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def _lower(folder: Path, process: Worker, limits: list[float]) -> bool:
    """Set one limit after the other, each as soon as it can be; then wait a while. Whether the last one was set."""
    for limit in limits:
        while not _limit_to(folder, limit):
            if process.poll() is not None:
                return False
            time.sleep(_LOOK_S)
        time.sleep(_STEP_S)
    time.sleep(_HELD_S)
    return True


def _limit_to(folder: Path, limit: float) -> bool:
    """Set the limit; False where that cannot be.

    None is tried before it can be: the kernel refuses what is below all that it cannot take back, but drops the group's
    page cache first, the code and weights that a request is reading too, which would never come to its end.
    """
    if _kept(folder) > limit:
        return False
    try:
        (folder / "memory.limit_in_bytes").write_text(str(int(limit)))
    except OSError:
        return False
    return True


def _kept(folder: Path) -> int:
    """Return the memory that cannot be taken back: all but the page cache."""
    cache = next(line for line in (folder / "memory.stat").read_text().splitlines() if line.startswith("cache "))
    return _used(folder) - int(cache.split()[1])


def _used(folder: Path) -> int:
    return int((folder / "memory.usage_in_bytes").read_text())


def _at_once(folder: Path, target: float) -> list[float]:
    """Lower the limit to a few MB over what cannot be taken back, and then to the target."""
    return [_kept(folder) + _MARGIN, target]


def _by_and_by(folder: Path, target: float) -> list[float]:
    """Lower the limit in steps from a little over what is used to the target."""
    steps = range(int(_used(folder) + 16 * _STEP), int(target), -int(_STEP))
    return [*steps, target]


def _summed(runs: list[Figures]) -> Figures:
    """Sum the figures of several processes."""
    return {
        "processes": len(runs),
        "killed": sum(run["is_killed"] for run in runs),
        "reached": all(run["reached"] for run in runs),
        "first": sorted({run["first"] for run in runs if run["first"] is not None}),
        "fewest_answers": min(sum(run["answers"].values()) for run in runs),
        "answers": dict(sum((Counter(run["answers"]) for run in runs), Counter[str]())),
    }
