"""A loaded subnet that counts its leases, so that a request that started on it ends on it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from edgedistill.runtime.engine.switches import direct_run
from edgedistill.runtime.onnx import PROVIDER, OnnxSession, make_run_options

if TYPE_CHECKING:
    from edgedistill.palette import Palette
    from edgedistill.runtime.predict.costs import Costs

__all__ = ["Lease", "LoadedSubnet", "SessionState"]


class Origin(Protocol):
    """Provide what a loaded subnet needs of its source."""

    @property
    def palette(self) -> Palette | None:
        """Return the palette; None in a test without one."""

    @property
    def costs(self) -> Costs:
        """Return the expected costs of its subnets."""


class SessionState(Enum):
    """Name the states of a loaded subnet.

    SERVING ── retire() with leases out ──► DRAINING ── last release() ──► DRAINED ── close() ──► CLOSED
       └────── retire() with none out ───────────────────────────────────────▲
    """

    SERVING = "serving"  # leases are given
    DRAINING = "draining"  # no new leases; the old ones go on
    DRAINED = "drained"  # no leases; the session is still in memory
    CLOSED = "closed"  # the session is dropped


_SERVING = SessionState.SERVING  # read by every request: the lookup of an enumeration's member takes many steps


class Lease:
    """Hold a loaded subnet until the end of the block, or the last reference to the lease.

    So no exception or interrupt leaves a subnet held for ever. ``is_held`` is false once released, and from the start
    if the subnet was retired: then lease its successor.

    A request takes no lock: it adds itself, then reads the state. Whoever retires the subnet sets the state, then looks
    for requests. So at least one of the two sees the other.
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
    """Hold one subnet in memory.

    ``source`` is where it was loaded from (None in a test). ``on_drained`` is called once, in the thread that ends the
    last lease: it must be quick and only notify the owner, who then calls `close` outside of requests.

    Attributes:
        session: the session, for holders of a lease.
        state: the state of the subnet.
        leases: the thread of each lease, by a key of its own.
        options: the options of its runs, which `stop_runs` ends. A run without them creates its own, which is slower.
        emptying_options: the options of its large runs.
    """

    def __init__(
        self,
        name: str,
        session: OnnxSession,
        on_drained: Callable[[], None] = lambda: None,
        source: Origin | None = None,
    ) -> None:
        self.name = name
        self.source = source
        self.session = session
        self._direct, self._inputs = direct_run(session, PROVIDER)
        self.options, self.emptying_options = _run_options()
        self.state = SessionState.SERVING
        self.leases: dict[object, int] = {}
        self._on_drained = on_drained
        self._drained = threading.Event()
        self._lock = threading.RLock()  # a lease may end in a garbage collection, even one inside this lock

    @property
    def palette(self) -> Palette:
        """Return the palette that it belongs to."""
        assert self.source is not None
        assert self.source.palette is not None
        return self.source.palette

    def run(
        self, output_names: Sequence[str], feeds: Mapping[str, Any], is_large: bool, clock: Callable[[], float]
    ) -> tuple[list[Any], float, float] | None:
        """Run under a lease; return outputs, end time and milliseconds, or None if the subnet was retired.

        Deliberately one function: inference evicts our code from the instruction cache, so overhead grows with the
        number of functions called. It was halved when `Lease` and two more were taken out.
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
        """Return whether that thread has a lease."""
        return thread in list(self.leases.values())  # a copy, since others come and go

    def retire(self) -> None:
        """Give no more leases."""
        with self._lock:
            if self.state is SessionState.SERVING:
                self.state = SessionState.DRAINING
        self.drain_if_free()

    def drain_if_free(self) -> None:
        """Become drained if retired and without leases."""
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
