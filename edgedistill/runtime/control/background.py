"""Repeat a step in a background thread, and end it with the subnets in memory."""

from __future__ import annotations

import atexit
import threading
import weakref

from edgedistill.runtime.control.observer import RateLimitedLog
from edgedistill.runtime.forks import AFTER_FORK, leak
from edgedistill.runtime.loading import Loader
from edgedistill.runtime.residents import Residents

__all__ = ["CLOSING_S", "BackgroundLoop"]

CLOSING_S = 30.0  # for requests to end before they are stopped
_STOPPED_LOAD_S = 1.0  # for a stopped load to end

_running: weakref.WeakSet[BackgroundLoop] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Close all loops before the interpreter ends, which would crash under a load or request of a thread."""
    for loop in list(_running):
        loop.close()


class BackgroundLoop:
    """Run `step` in a thread until closed. All methods are safe to call from any thread.

    Attributes:
        residents: the subnets in memory, which end with the loop.
    """

    def __init__(self, residents: Residents, loader: Loader, wake: threading.Event, log: RateLimitedLog) -> None:
        self.residents, self._loader, self._wake, self._log = residents, loader, wake, log
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def step(self) -> None:
        """Do one step of the work."""
        raise NotImplementedError

    def release_waiting(self) -> None:
        """Release the requests that wait for a step."""

    @property
    def is_closed(self) -> bool:
        """Return whether it was stopped."""
        return self._stopping.is_set()

    def start(self, interval_s: float) -> None:
        """Repeat `step` in the background, every ``interval_s`` seconds and when there is something to do."""
        self._thread = threading.Thread(target=self._loop, args=(interval_s,), name="edgedistill", daemon=True)
        self._thread.start()
        _running.add(self)

    def stop(self) -> None:
        """Let everything end by itself, and wait for nothing."""
        self._stopping.set()
        self._wake.set()

    def stop_runs(self) -> None:
        """End the requests under way with an error."""
        self.residents.stop_runs()

    def abandon(self) -> None:
        """Serve nothing in a forked process, which lacks the parent's threads, and free nothing."""
        _running.discard(self)
        leak(self, self.residents.live, self.residents.fallback)
        self.residents.abandon(AFTER_FORK)

    def close(self) -> None:
        """Stop deciding, let the requests under way end, and drop every session.

        Within a request or the listener, it does not wait for what it would block itself.
        """
        self.stop()
        if self._thread is None:
            self.residents.close(CLOSING_S)
        elif self._thread is threading.current_thread() or self.residents.is_held_by(threading.get_ident()):
            return
        else:
            self._thread.join()
        self._loader.close(_STOPPED_LOAD_S)

    def _loop(self, interval_s: float) -> None:
        try:
            while not self._stopping.is_set():
                self._wake.wait(interval_s)
                self._wake.clear()
                if not self._stopping.is_set():
                    self._step_safely()
        finally:
            self.release_waiting()
            self.residents.close(CLOSING_S)

    def _step_safely(self) -> None:
        try:
            self.step()
        except Exception:  # noqa: BLE001 (the active subnet goes on serving; a later step may do better)
            self._log.exception("a step of the runtime failed")
