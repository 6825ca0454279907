"""A loaded subnet that counts its leases, so that a request that started on it ends on it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Any

from edgedistill.runtime.onnx import OnnxSession, direct_run, make_run_options

if TYPE_CHECKING:
    from edgedistill.palette import Palette
    from edgedistill.runtime.source import Source

__all__ = ["Lease", "LoadedSubnet", "SessionState"]


class SessionState(Enum):
    """Where a loaded subnet is in its life.

    SERVING ── retire() with leases out ──► DRAINING ── last release() ──► DRAINED ── close() ──► CLOSED
       └────── retire() with none out ───────────────────────────────────────▲
    """

    SERVING = "serving"  # leases are given
    DRAINING = "draining"  # no new leases; the old ones go on
    DRAINED = "drained"  # no leases; the session is still in memory
    CLOSED = "closed"  # the session is dropped


_SERVING = SessionState.SERVING  # what every request asks for: an enumeration's member is found in many steps


class Lease:
    """A hold on a loaded subnet, released once: by the end of the block, or with the last reference to it.

    So that whatever is raised in between, an interrupt too, leaves no subnet held for ever. ``is_held`` is false once
    released, and from the start where the subnet was retired: then its successor is to be asked.

    A request takes no lock: it adds itself and then looks at the state, whoever retires the subnet sets the state and
    then looks for requests, and so at least one of the two sees the other.
    """

    __slots__ = ("_key", "is_held", "subnet")

    def __init__(self, subnet: LoadedSubnet) -> None:
        self.subnet = subnet
        self.is_held = True
        self._key = object()
        subnet.leases[self._key] = threading.get_ident()
        if subnet.state is not SessionState.SERVING:
            self.release()

    def release(self) -> None:
        """End it."""
        if self.is_held:
            self.is_held = False
            self.subnet.leases.pop(self._key, None)
            if self.subnet.state is not SessionState.SERVING:
                self.subnet.drain_if_free()

    def __enter__(self) -> LoadedSubnet:
        return self.subnet

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __del__(self) -> None:
        if self.is_held:
            self.release()


class LoadedSubnet:
    """One subnet in memory.

    ``source`` is where it came from (None in a test without one). ``on_drained`` is called once, in the thread of
    whoever ends the last lease: it must be quick and only tell the owner, who then calls `close` away from the
    requests.

    Attributes:
        session: for holders of a lease.
        state: where it is in its life.
        leases: for each lease, by a key of its own, the thread that took it.
        options: those of its runs, which `stop_runs` ends. A run without any makes its own, which takes longer.
        emptying_options: those of its large runs.
    """

    def __init__(
        self,
        name: str,
        session: OnnxSession,
        on_drained: Callable[[], None] = lambda: None,
        source: Source | None = None,
    ) -> None:
        self.name = name
        self.source = source
        self.session = session
        self._direct, self._inputs = direct_run(session)
        self.options, self.emptying_options = _run_options()
        self.state = SessionState.SERVING
        self.leases: dict[object, int] = {}
        self._on_drained = on_drained
        self._drained = threading.Event()
        self._lock = threading.RLock()  # a lease may end in a garbage collection, even one inside this lock

    @property
    def palette(self) -> Palette:
        """Whose it is."""
        assert self.source is not None
        assert self.source.palette is not None
        return self.source.palette

    def run(
        self, output_names: Sequence[str], feeds: Mapping[str, Any], is_large: bool, clock: Callable[[], float]
    ) -> tuple[list[Any], float, float] | None:
        """Under a lease: outputs, when that ended, and how many ms it took; None where the subnet was retired.

        All in one function, since a run empties the caches that code is in: what a request costs beside its run is how
        many functions are read again, and was half of that once `Lease` and two more were no part of it.
        """
        key = object()
        try:
            self.leases[key] = threading.get_ident()
            if self.state is not _SERVING:
                return None
            run = self._direct if len(feeds) == self._inputs else self.session.run
            options = self.emptying_options if is_large else self.options
            start_s = clock()
            outputs = run(output_names, feeds, options)
            ended_s = clock()
            return outputs, ended_s, (ended_s - start_s) * 1e3
        finally:
            self.leases.pop(key, None)
            if self.state is not _SERVING:
                self.drain_if_free()

    def is_held_by(self, thread: int) -> bool:
        """Whether that thread has a lease."""
        return thread in list(self.leases.values())  # a list at once, as others come and go

    def retire(self) -> None:
        """Give no more leases."""
        with self._lock:
            if self.state is SessionState.SERVING:
                self.state = SessionState.DRAINING
        self.drain_if_free()

    def drain_if_free(self) -> None:
        """Once retired, and without leases: that was the last one."""
        with self._lock:
            if self.state is not SessionState.DRAINING or self.leases:
                return
            self.state = SessionState.DRAINED
            self._drained.set()
        self._on_drained()

    def wait_drained(self, limit_s: float | None = None) -> bool:
        """Block until the last lease has ended; False where it has not by then."""
        return self._drained.wait(limit_s)

    def stop_runs(self) -> None:
        """End the runs under way with an error, and those that begin."""
        for options in (self.options, self.emptying_options):
            if options is not None:
                options.terminate = True

    def close(self) -> None:
        """Drop the session; only once drained."""
        with self._lock:
            assert self.state is SessionState.DRAINED, "closed under a request"
            del self.session, self._direct
            self.state = SessionState.CLOSED


def _run_options() -> tuple[Any, Any]:
    """Return the options of a session's usual and large runs; None for sessions that are not onnxruntime's."""
    if "onnxruntime" not in sys.modules:
        return None, None
    return make_run_options(), make_run_options(emptying=True)
