"""Serve the demo's stream of requests while the CPU is loaded and released again."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgedistill.demo.load import CpuLoad
from edgedistill.errors import EdgeDistillError
from edgedistill.palette import DeviceProfile, Palette
from edgedistill.runtime import AdaptiveSession, Reason, TextClassifier

__all__ = ["Phase", "Served", "View", "budget_for", "serve"]

_PAUSE_S = 0.01
_VIEW_EVERY_S = 0.2
_RECENT = 60
_MIN_SWAPS = 2
_MAX_CYCLES = 5


@dataclass(frozen=True, slots=True)
class Phase:
    """Describe a phase: its title, the number of busy processes, and its duration."""

    title: str
    processes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class View:
    """Hold what the demo shows at one moment."""

    phase: str
    subnet: str
    reason: str
    other_load: float | None
    recent_p95_ms: float
    requests: int
    failed: int
    swaps: int


@dataclass
class Served:
    """Hold the result of the stream: counts, the number of correct labels, and each subnet's latencies."""

    requests: int = 0
    failed: int = 0
    swaps: int = 0
    right: int = 0
    latencies_ms: dict[str, list[float]] = field(default_factory=dict)


def budget_for(palette: Palette, profile: DeviceProfile, tokens: int) -> float:
    """Return a latency budget that the best subnet meets on a quiet machine and misses on a loaded one.

    It is 1.7 times its median latency in ``profile``, but well above its 95th percentile there.
    """
    entries = {entry.name: entry for entry in palette.manifest.subnets}
    points = {subnet.subnet: subnet.latency_at(tokens) for subnet in profile.subnets}
    best = max(points, key=lambda name: (entries[name].score("validation"), -points[name].p50_ms))
    return max(1.7 * points[best].p50_ms, 1.25 * points[best].p95_ms)


def serve(
    palette: Palette,
    rows: Sequence[tuple[str, str]],
    *,
    budget_ms: float,
    cores: int,
    on_view: Callable[[View], None],
) -> Served:
    """Answer ``rows`` (text, label) over and over through quiet and loaded phases.

    Ends after a quiet, a loaded and a quiet phase, or goes round again until there were two swaps.
    """
    served, recent = Served(), deque[float](maxlen=_RECENT)
    stream = itertools.cycle(rows)
    with AdaptiveSession(palette, max_latency_ms=budget_ms) as session, CpuLoad() as load:
        classifier = TextClassifier(session)
        for phase in _phases(cores, session):
            load.set(phase.processes)
            for is_view_due in _ticks(phase.seconds):
                if is_view_due:
                    on_view(_view(phase.title, session, served, recent))
                _ask(classifier, next(stream), served, recent)
        served.swaps = session.swaps
    return served


def _phases(cores: int, session: AdaptiveSession) -> Iterator[Phase]:
    yield Phase("quiet", 0, 5)
    for _ in range(_MAX_CYCLES):
        yield Phase(f"{2 * cores} processes burn the CPU", 2 * cores, 9)
        yield Phase("quiet again", 0, 12)
        if session.swaps >= _MIN_SWAPS:
            return


def _ticks(seconds: float) -> Iterator[bool]:
    """Yield once per request until the time is up, whether the view should be refreshed."""
    end = time.monotonic() + seconds
    next_view = 0.0
    while (now := time.monotonic()) < end:
        yield now >= next_view
        if now >= next_view:
            next_view = now + _VIEW_EVERY_S
        time.sleep(_PAUSE_S)


def _ask(classifier: TextClassifier, row: tuple[str, str], served: Served, recent: deque[float]) -> None:
    text, label = row
    served.requests += 1
    try:
        answer = classifier.classify([text])[0]
    except EdgeDistillError:
        served.failed += 1
        return
    served.right += answer.label == label
    served.latencies_ms.setdefault(answer.subnet, []).append(answer.latency_ms)
    recent.append(answer.latency_ms)


def _view(phase: str, session: AdaptiveSession, served: Served, recent: deque[float]) -> View:
    # The latest decision that chose it, rather than one that kept it.
    active, waiting = session.active, {Reason.KEEP, Reason.DWELL, Reason.SWAP_LIMIT}
    brought = [d for d in session.decisions if d.subnet == active and d.reason not in waiting]
    return View(
        phase=phase,
        subnet=active,
        reason=(brought or session.decisions)[-1].reason.value,
        other_load=session.decisions[-1].readings.other_load,
        recent_p95_ms=float(np.percentile(recent, 95)) if recent else 0.0,
        requests=served.requests,
        failed=served.failed,
        swaps=session.swaps,
    )
