"""End onnxruntime's work from another thread: a graph may loop for ever, and a call into it ignores Ctrl-C.

Whatever may take long runs in a thread of its own, beside a `Stop`. Runs look at their options between two nodes, a
loop's nodes too, so a stopped one ends within a node's time. A session that is being made cannot be stopped by all
versions of onnxruntime, and by none in all of its phases: such a thread is left behind.
"""

from __future__ import annotations

import atexit
import ctypes
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from edgedistill.errors import LoadError
from edgedistill.runtime.onnx import make_run_options

__all__ = [
    "RUN_LIMIT_S",
    "Spawn",
    "Stop",
    "Worker",
    "apart",
    "end_without_destructors",
    "forget_workers",
    "leave_behind",
    "pause_workers",
    "resume_workers",
    "run_options",
]

RUN_LIMIT_S = 60.0  # of a short run that checks a subnet; hundreds of times what the slowest board takes
_LOOK_S = 0.5
_STOPPED_S = 1.0  # what a stopped thread has to end

_T = TypeVar("_T")


class Worker:
    """A daemon thread that does some work, and whose end can be waited for.

    Not by `threading.Thread.join`: where Ctrl-C interrupts that, Python 3.11 takes the thread for ended.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edgedistill-load", daemon=True)
        with _gate:
            _working.add(self)
            try:
                self._thread.start()
            except BaseException:
                _working.discard(self)
                raise

    def _run(self) -> None:
        try:
            self._work()
        finally:
            _working.discard(self)
            self._ended.set()

    @property
    def is_this_thread(self) -> bool:
        """Return whether the work is what this thread does."""
        return self._thread is threading.current_thread()

    @property
    def has_ended(self) -> bool:
        """Return whether the work is done."""
        return self._ended.is_set()

    def wait(self, limit_s: float) -> bool:
        """Wait for its end, and return whether it has ended."""
        return self._ended.wait(limit_s)


Spawn = Callable[[Callable[[], None]], Worker | None]

_gate = threading.Lock()  # to begin some work; held while the process is forked
_working: set[Worker] = set()
_current = threading.local()
_left_behind: list[Worker] = []


class Stop:
    """Ends the runs of one piece of work. `stop` may be called from any thread."""

    def __init__(self) -> None:
        self._options: Any = None
        self._began_s: float | None = None
        self._is_stopped = False
        self._lock = threading.Lock()

    @contextmanager
    def here(self) -> Iterator[None]:
        """Let `run_options` of this thread, until the block ends, be those that `stop` ends."""
        _current.stop = self
        try:
            yield
        finally:
            _current.stop = None

    def begin_run(self) -> Any:
        """Return the options of a run that begins now.

        Raises:
            LoadError: it was stopped already.
        """
        with self._lock:
            if self._is_stopped:
                raise LoadError("it was stopped")
            self._options, self._began_s = make_run_options(), time.monotonic()
            return self._options

    def stop(self) -> None:
        """End the run under way, and begin no other."""
        with self._lock:
            self._is_stopped = True
            if self._options is not None:
                self._options.terminate = True

    @property
    def is_overdue(self) -> bool:
        """Return whether its last run began longer ago than a run may take."""
        return self._began_s is not None and time.monotonic() - self._began_s > RUN_LIMIT_S


def run_options() -> Any:
    """Return the options of a run that begins now, in work that can be stopped; None outside of such work.

    Raises:
        LoadError: the work was stopped already.
    """
    stop: Stop | None = getattr(_current, "stop", None)
    return None if stop is None else stop.begin_run()


def apart(work: Callable[[], _T], limit_s: float = math.inf, *, name: str = "it", advice: str = "") -> _T:
    """Do work in a thread of its own and wait for it, so that Ctrl-C is heard; what it raises is raised here.

    ``name`` begins the message about work that takes too long, and ``advice`` ends it.

    Raises:
        LoadError: it takes longer than the limit, or one of its runs over `RUN_LIMIT_S`.
    """
    stop, results, errors = Stop(), list[_T](), list[BaseException]()

    def run() -> None:
        try:
            with stop.here():
                results.append(work())
        except BaseException as error:  # noqa: BLE001 (raised again in the thread that waits)
            errors.append(error)

    worker, end_s = Worker(run), time.monotonic() + limit_s
    try:
        while not stop.is_overdue and (left_s := end_s - time.monotonic()) > 0:
            if worker.wait(min(_LOOK_S, left_s)):
                break
        is_late = not worker.has_ended
    finally:
        if not worker.has_ended:
            stop.stop()
            leave_behind([worker], _STOPPED_S)
    if is_late:
        raise LoadError(f"{name} takes over {RUN_LIMIT_S if stop.is_overdue else limit_s:g} s{advice}")
    if errors:
        raise errors[0]
    return results[0]


def leave_behind(workers: list[Worker], limit_s: float) -> None:
    """Wait for workers that were stopped, and go on without those that do not end."""
    _left_behind.extend(workers)  # before the wait, which may be interrupted
    end_s = time.monotonic() + limit_s
    for worker in workers:
        if worker.wait(max(0.0, end_s - time.monotonic())):
            _left_behind.remove(worker)


@atexit.register
def _end_under_threads() -> None:
    """Let the process end in peace under threads that were left behind.

    They would meet destructors of libraries that they still use (a segmentation fault), or be unwound where they ask
    for the interpreter's lock (std::terminate, SIGABRT). So the first is left out, by an exit handler of glibc's that
    runs before them and keeps the status, and who is unwound waits for the end instead.
    """
    if all(worker.has_ended for worker in _left_behind):
        return
    end_without_destructors()
    with suppress(AttributeError, OSError):  # another C++ library
        ctypes.CDLL("libstdc++.so.6")["_ZSt13set_terminatePFvvE"](ctypes.CDLL(None).pause)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()


def end_without_destructors() -> None:
    """Let this process end with its status before destructors of libraries run, where the C library is glibc."""
    with suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.on_exit(libc._exit, None)


def pause_workers(limit_s: float) -> bool:
    """Let no work begin, and wait for all that is under way but this thread's; return whether it ended in time."""
    end_s = time.monotonic() + limit_s
    if not _gate.acquire(timeout=limit_s):
        return False
    others = [worker for worker in list(_working) if not worker.is_this_thread]
    return all(worker.wait(max(0.0, end_s - time.monotonic())) for worker in others)


def resume_workers() -> None:
    """Let work begin again."""
    with suppress(RuntimeError):  # it was not paused
        _gate.release()


def forget_workers() -> None:
    """Forget the parent's workers in a process that was forked just now."""
    global _gate  # noqa: PLW0603 (of the process)
    _gate = threading.Lock()
    _working.clear()
    _left_behind.clear()
