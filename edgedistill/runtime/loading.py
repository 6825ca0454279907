"""One load at a time, away from requests and decisions: one that hangs holds up no decision.

A load takes its memory whether or not it is still wanted. So nothing is begun beside one, but for one more beside a
load that has overrun its time: its runs are stopped, but what makes a session cannot be.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from edgedistill.errors import LoadError
from edgedistill.runtime.stopping import RUN_LIMIT_S, Spawn, Stop, Worker, leave_behind

__all__ = ["Loaded", "Loader"]

_MAX_OVERDUE = 1


@dataclass(frozen=True, slots=True)
class Loaded:
    """Hold the result of a load: its name, and what was loaded or the error."""

    name: str
    result: Any
    error: Exception | None


@dataclass
class _Load:
    name: str
    began_s: float
    limit_s: float
    done: threading.Event = field(default_factory=threading.Event)
    result: Any = None
    error: Exception | None = None
    worker: Worker | None = None
    stop: Stop = field(default_factory=Stop)

    def overrun(self, now_s: float) -> float | None:
        """Return the limit that it has overrun, in seconds; None within its time."""
        if self.stop.is_overdue:
            return RUN_LIMIT_S
        return self.limit_s if now_s - self.began_s > self.limit_s else None


class Loader:
    """Runs one load at a time.

    Args:
        clock: seconds from any start.
        done: called when a load has ended, from its thread.
        spawn: runs the load; by itself in a thread, at once in a test.
    """

    def __init__(self, clock: Callable[[], float], done: Callable[[], None], spawn: Spawn = Worker) -> None:
        self._clock, self._done, self._spawn = clock, done, spawn
        self._load: _Load | None = None
        self._overdue: list[_Load] = []

    @property
    def names(self) -> list[str]:
        """Return the names of all loads under way, overdue ones included."""
        return [load.name for load in (*self._overdue, *([self._load] if self._load else []))]

    @property
    def is_busy(self) -> bool:
        """Return whether a load is under way, within its time."""
        return self._load is not None

    @property
    def is_free(self) -> bool:
        """Return whether another load may begin."""
        return self._load is None and len(self._overdue) <= _MAX_OVERDUE

    def start(self, name: str, work: Callable[[], Any], limit_s: float = math.inf) -> None:
        """Begin a load; the loader must be free."""
        assert self.is_free, "one load at a time"
        self._load = load = _Load(name, self._clock(), limit_s)

        def run() -> None:
            try:
                with load.stop.here():
                    load.result = work()
            except Exception as error:  # noqa: BLE001 (`poll` reports it)
                load.error = error
            load.done.set()
            self._done()

        try:
            load.worker = self._spawn(run)
        except RuntimeError as error:  # no thread can be had
            load.error = error
            load.done.set()

    def poll(self) -> Loaded | None:
        """Return the load that ended, or once, with a LoadError, one that overran its time."""
        self._overdue = [load for load in self._overdue if not load.done.is_set()]
        load = self._load
        if load is None:
            return None
        if load.done.is_set():
            self._load = None
            return Loaded(load.name, load.result, load.error)
        limit_s = load.overrun(self._clock())
        if limit_s is not None:
            self._load = None
            self._overdue.append(load)
            load.stop.stop()
            return Loaded(load.name, None, LoadError(f"loading {load.name} takes over {limit_s:g} s"))
        return None

    def close(self, limit_s: float) -> None:
        """Stop what runs and wait for its end; what cannot be stopped in time is left behind."""
        loads = [*self._overdue, *([self._load] if self._load else [])]
        for load in loads:
            load.stop.stop()
        leave_behind([load.worker for load in loads if load.worker is not None], limit_s)
        self._load = None
