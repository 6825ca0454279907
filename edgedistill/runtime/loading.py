"""One load at a time, away from requests and decisions, with a time limit: a load that hangs holds up nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from edgedistill.errors import LoadError

__all__ = ["Loader", "in_background"]

_T = TypeVar("_T")

Spawn = Callable[[Callable[[], None]], None]


def in_background(work: Callable[[], None]) -> None:
    """In a thread that the end of the program does not wait for."""
    threading.Thread(target=work, name="edgedistill-load", daemon=True).start()


@dataclass
class _Load(Generic[_T]):
    """``result`` or ``error`` once ``done``; what an abandoned one brings is dropped."""

    name: str
    began_s: float
    done: threading.Event = field(default_factory=threading.Event)
    result: _T | None = None
    error: Exception | None = None


class Loader(Generic[_T]):
    """Runs one load at a time.

    Args:
        clock: seconds from any start.
        done: called when a load has ended, from its thread.
        spawn: runs the load; by itself in a thread, at once in a test.
    """

    def __init__(self, clock: Callable[[], float], done: Callable[[], None], spawn: Spawn = in_background) -> None:
        self._clock, self._done, self._spawn = clock, done, spawn
        self._load: _Load[_T] | None = None

    @property
    def loading(self) -> str | None:
        """The name of what is being loaded."""
        return None if self._load is None else self._load.name

    def since_s(self) -> float:
        """For how long the load under way has been; 0 without one."""
        return 0.0 if self._load is None else self._clock() - self._load.began_s

    def start(self, name: str, work: Callable[[], _T]) -> None:
        """Begin a load; none may be under way."""
        assert self._load is None, "one load at a time"
        self._load = load = _Load[_T](name, self._clock())

        def run() -> None:
            try:
                load.result = work()
            except Exception as error:  # noqa: BLE001 (whatever it is, it is told by `poll`)
                load.error = error
            load.done.set()
            self._done()

        self._spawn(run)

    def poll(self, limit_s: float) -> tuple[str, _T | Exception] | None:
        """The name of the load that ended, and what it brought; a LoadError for one that took over ``limit_s``."""
        load = self._load
        if load is None:
            return None
        if load.done.is_set():
            self._load = None
            return load.name, load.error if load.error is not None else self._brought(load)
        if self._clock() - load.began_s > limit_s:
            self._load = None
            return load.name, LoadError(f"loading {load.name} took over {limit_s:g} s")
        return None

    def abandon(self) -> None:
        """Let the load under way come to nothing."""
        self._load = None

    @staticmethod
    def _brought(load: _Load[_T]) -> _T:
        assert load.result is not None
        return load.result
