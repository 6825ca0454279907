"""Run and control the processes that memory_returns.py measures.

They are fresh processes with real onnxruntime sessions, one thread and real sensors. Nothing here imports torch, whose
memory would hide the subnets.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedistill.palette import Palette, load
from edgedistill.runtime import AdaptiveSession
from edgedistill.runtime.onnx import create_session, import_onnxruntime

SWAPS = 50
REQUESTS = 250  # that count, under a limit
BATCH = 4  # the larger of two kinds of requests
_REST_S = 0.02  # between requests: an exchange meets one under way, or none
_LONGEST_S = 600  # of a process; a busy machine takes its time
_LOOK_S = 0.1
_LOOKS = 30  # at most
_ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'

Feeds = dict[str, NDArray[np.int64]]
Figures = dict[str, Any]


def main() -> None:
    """Do the job on the first line of standard input; a line of JSON for each thing that is told."""
    signal.alarm(_LONGEST_S)
    job = json.loads(sys.stdin.readline())
    palette = load(Path(job["palette"]))
    feeds = {name: np.array(ids, np.int64) for name, ids in job["feeds"].items()}
    import_onnxruntime()  # its own memory belongs to what there is before any subnet
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak counts from here
    _tell(memory_of("self"))
    sys.stdin.readline()
    {"plain": _plain, "swapped": _swapped, "served": _served}[job["role"]](palette, feeds, job)


def _tell(what: Figures) -> None:
    print(json.dumps(what), flush=True)


def memory_of(process: int | str) -> Figures:
    """Resident memory, its anonymous part and its peak, in 10⁶ bytes."""
    wanted = {"VmRSS:": "resident_mb", "RssAnon:": "anonymous_mb", "VmHWM:": "peak_mb"}
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    fields = [line.split() for line in lines]
    return {wanted[field[0]]: int(field[1]) * 1024 / 1e6 for field in fields if field and field[0] in wanted}


def _plain(palette: Palette, feeds: Feeds, job: Figures) -> None:
    """Load the largest subnet alone, in the runtime's kind of session: it takes less memory than the defaults."""
    session = create_session(palette.graph_path(job["largest"]), 1)
    for _ in range(REQUESTS):
        session.run(None, feeds)
    _tell({"answers": {job["largest"]: REQUESTS}} | memory_of("self"))


def _swapped(palette: Palette, feeds: Feeds, job: Figures) -> None:
    """Swap the largest with each of the others, the smallest first; report memory when the largest is active."""
    others = sorted((name for name in job["only"] if name != job["largest"]), key=lambda name: name != job["smallest"])
    options = {"max_memory_mb": job["budget_mb"], "only": job["only"], "threads": 1, "interval_s": 0.05}
    after_mb = []
    with AdaptiveSession(palette, **options) as session:
        for turn in range(SWAPS // 2):
            _serve_by(session, feeds, others[turn % len(others)])
            _serve_by(session, feeds, job["largest"])
            after_mb.append(_settled_mb())
        _tell({"swaps": session.swaps, "after_mb": after_mb, "peak_mb": memory_of("self")["peak_mb"]})


def _settled_mb() -> float:
    """Resident memory once three looks agree: what was exchanged goes in a step of its own."""
    looks: list[float] = []
    for _ in range(_LOOKS):
        looks.append(memory_of("self")["resident_mb"])
        if len(looks) >= 3 and max(looks[-3:]) - min(looks[-3:]) < 0.1:
            break
        time.sleep(_LOOK_S)
    return looks[-1]


def _served(palette: Palette, feeds: Feeds, job: Figures) -> None:
    """Serve requests until told to stop, and then those that count."""
    with AdaptiveSession(palette, only=job["only"], threads=1) as session:
        if job["stands_by"]:  # the smallest answers what the largest cannot in time, once it is in memory
            while session.answer(None, feeds, deadline_ms=1e-3).subnet != job["smallest"]:
                time.sleep(_REST_S)
        _tell({"first": session.active})
        while not select.select([sys.stdin], [], [], 0)[0]:
            _ask(session, feeds)
        _tell({"answers": Counter(_ask(session, feeds) for _ in range(REQUESTS))})


def _ask(session: AdaptiveSession, feeds: Feeds) -> str:
    """Send one request and rest; return the subnet that answered."""
    subnet = session.answer(None, feeds).subnet
    time.sleep(_REST_S)
    return subnet


def _serve_by(session: AdaptiveSession, feeds: Feeds, subnet: str) -> None:
    """Serve requests while this subnet loads, and some larger ones by it."""
    session.pin(subnet)
    while session.active != subnet:
        _ask(session, feeds)
    batch = {name: np.tile(ids, (BATCH, 1)) for name, ids in feeds.items()}
    for _ in range(3):
        _ask(session, batch)


class Worker(subprocess.Popen[str]):
    """A fresh process that does a job, in a control group where one is given."""

    def __init__(self, job: Figures, group: Path | None = None) -> None:
        command = [sys.executable, __file__]
        entered = command if group is None else ["sh", "-c", _ENTER, str(group), *command]
        super().__init__(entered, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.say(json.dumps(job))

    def say(self, line: str = "go on") -> None:
        """Send one line; the process may be gone."""
        assert self.stdin is not None
        with suppress(BrokenPipeError):
            os.write(self.stdin.fileno(), f"{line}\n".encode())

    def hear(self) -> Figures:
        """Return its next line, or an empty one if it is gone."""
        assert self.stdout is not None
        found: Figures = json.loads(self.stdout.readline() or "{}")
        return found

    def tells_within(self, wait_s: float) -> bool:
        """Return whether it has sent something or is gone, after that long at most."""
        assert self.stdout is not None
        return bool(select.select([self.stdout], [], [], max(0.0, wait_s))[0])


if __name__ == "__main__":
    main()
