"""A loaded subnet that counts its leases, so that a request that started on it ends on it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING

from edgedistill.runtime.onnx import OnnxSession

if TYPE_CHECKING:
    from edgedistill.manifest import Palette
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


class Lease:
    """A hold on a loaded subnet, released once: by the end of the block, or with the last reference to it.

    So that whatever is raised in between, an interrupt too, leaves no subnet held for ever.
    """

    __slots__ = ("_held", "_thread", "subnet")

    def __init__(self, subnet: LoadedSubnet) -> None:
        self.subnet = subnet
        self._thread = threading.get_ident()
        self._held = subnet._take(self._thread)

    @property
    def is_held(self) -> bool:
        """False when the subnet was retired, and its successor is to be asked."""
        return self._held

    def release(self) -> None:
        """End it."""
        if self._held:
            self._held = False
            self.subnet._give_back(self._thread)

    def __enter__(self) -> LoadedSubnet:
        return self.subnet

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._held:  # not by `release`: after a request every call reads its code from memory
            self._held = False
            self.subnet._give_back(self._thread)

    def __del__(self) -> None:
        if self._held:
            self.release()


class LoadedSubnet:
    """One subnet in memory.

    ``source`` is where it came from (None in a test without one). ``on_drained`` is called once, in the thread of
    whoever ends the last lease: it must be quick and only tell the owner, who then calls `close` away from the
    requests.
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
        self._session: OnnxSession | None = session
        self._on_drained = on_drained
        self._leases: dict[int, int] = {}  # by thread
        self._state = SessionState.SERVING
        self._drained = threading.Event()
        self._lock = threading.RLock()  # a lease may end in a garbage collection, even one inside this lock

    @property
    def state(self) -> SessionState:
        """Where it is in its life."""
        return self._state

    @property
    def palette(self) -> Palette:
        """Whose it is."""
        assert self.source is not None
        assert self.source.palette is not None
        return self.source.palette

    @property
    def session(self) -> OnnxSession:
        """The session; for holders of a lease."""
        assert self._session is not None, "used without a lease"
        return self._session

    def is_held_by(self, thread: int) -> bool:
        """Whether that thread has a lease."""
        return thread in self._leases

    def _take(self, thread: int) -> bool:
        with self._lock:
            if self._state is not SessionState.SERVING:
                return False
            self._leases[thread] = self._leases.get(thread, 0) + 1
            return True

    def _give_back(self, thread: int) -> None:
        with self._lock:
            left = self._leases.pop(thread) - 1
            if left:
                self._leases[thread] = left
            drained = self._state is not SessionState.SERVING and self._drain_if_free()
        if drained:
            self._on_drained()

    def retire(self) -> None:
        """Give no more leases."""
        with self._lock:
            if self._state is not SessionState.SERVING:
                return
            self._state = SessionState.DRAINING
            drained = self._drain_if_free()
        if drained:
            self._on_drained()

    def _drain_if_free(self) -> bool:
        if self._state is not SessionState.DRAINING or self._leases:
            return False
        self._state = SessionState.DRAINED
        self._drained.set()
        return True

    def wait_drained(self) -> None:
        """Block until the last lease has ended."""
        self._drained.wait()

    def close(self) -> None:
        """Drop the session; only once drained."""
        with self._lock:
            assert self._state is SessionState.DRAINED, "closed under a request"
            self._session = None
            self._state = SessionState.CLOSED
