"""The subnets in memory: the live one, the fallback next to it, and those that drain."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

from edgedistill.errors import SessionClosed
from edgedistill.runtime.engine.switches import give_back_memory
from edgedistill.runtime.sessions import Lease, LoadedSubnet, SessionState

__all__ = ["Residents"]

_STOPPED_RUN_S = 1.0  # for a stopped run to end


class Residents:
    """Hold the subnets in memory. One thread exchanges them; any thread leases.

    Attributes:
        live: the active subnet; None before the first, and once closed. Only exchanges set it.
        fallback: the fallback subnet, which may be the live one. Only `keep_as_fallback` sets it.
    """

    def __init__(self) -> None:
        self.live: LoadedSubnet | None = None
        self.fallback: LoadedSubnet | None = None
        self._retired: list[LoadedSubnet] = []
        self._why_closed = "this session was closed; open the palette again"

    @property
    def draining(self) -> bool:
        """Return whether a retired subnet is still in memory."""
        return bool(self._retired)

    @property
    def names(self) -> frozenset[str]:
        """Return the names of the subnets in memory that are not retired."""
        return frozenset(subnet.name for subnet in self._all())

    @property
    def held(self) -> list[str]:
        """Return the names of all subnets in memory, draining ones included."""
        return [subnet.name for subnet in (*self._all(), *self._retired)]

    def serving(self) -> LoadedSubnet:
        """Return the active subnet.

        Raises:
            SessionClosed: there is none any more.
        """
        live = self.live
        if live is None:
            raise SessionClosed(self._why_closed)
        return live

    def lease(self, choose: Callable[[], LoadedSubnet] | None = None) -> Lease:
        """Lease the chosen subnet, or the active one.

        Raises:
            SessionClosed: there is none any more.
        """
        # If it was retired between two lines, another is in its place already.
        while not (lease := Lease((choose or self.serving)())).is_held:
            pass
        return lease

    def other_than(self, *failed: LoadedSubnet) -> LoadedSubnet | None:
        """Return the fallback subnet, or where that failed, the live one; None where no other is in memory."""
        while True:
            pair = self.fallback, self.live
            for subnet in pair:
                if subnet is not None and subnet not in failed:
                    return subnet
            if pair == (self.fallback, self.live):  # else others took their places meanwhile
                return None

    def is_held_by(self, thread: int) -> bool:
        """Return whether a request of that thread is under way."""
        return any(subnet.is_held_by(thread) for subnet in (*self._all(), *self._retired))

    def exchange(self, fresh: LoadedSubnet) -> None:
        """Let this one serve from now on; the one before drains, unless it is the fallback."""
        old, self.live = self.live, fresh
        if old is not None and old is not self.fallback and old is not fresh:
            self.drop(old)

    def keep_as_fallback(self, subnet: LoadedSubnet | None) -> None:
        """Keep this one (None: none) as the fallback; the one before drains, unless it serves."""
        old, self.fallback = self.fallback, subnet
        if old is not None and old is not self.live and old is not subnet:
            self.drop(old)

    def drop(self, subnet: LoadedSubnet) -> None:
        """Drain a subnet that is neither active nor the fallback."""
        self._retired.append(subnet)
        subnet.retire()

    def close_drained(self) -> None:
        """Drop subnets that no request uses any more, and return their memory."""
        drained = [subnet for subnet in self._retired if subnet.state is SessionState.DRAINED]
        for subnet in drained:
            subnet.close()
            self._retired.remove(subnet)
        if drained:
            give_back_memory()

    def close(self, limit_s: float | None = None) -> None:
        """Let the requests under way end, then drop everything.

        With a limit, requests that take longer are stopped: they get an error. One that cannot be stopped keeps its
        subnet in memory.
        """
        last, self.live, self.fallback = list(self._all()), None, None
        for subnet in last:
            self.drop(subnet)
        end_s = math.inf if limit_s is None else time.monotonic() + limit_s
        for subnet in self._retired:
            if not subnet.wait_drained(None if limit_s is None else max(0.0, end_s - time.monotonic())):
                subnet.stop_runs()
                subnet.wait_drained(_STOPPED_RUN_S)
        self.close_drained()

    def abandon(self, why: str) -> None:
        """Serve nothing from now on, and free nothing."""
        self.live, self.fallback, self._why_closed = None, None, why

    def stop_runs(self) -> None:
        """End the requests under way with an error."""
        for subnet in (*self._all(), *self._retired):
            subnet.stop_runs()

    def _all(self) -> Iterator[LoadedSubnet]:
        live, fallback = self.live, self.fallback
        if live is not None:
            yield live
        if fallback is not None and fallback is not live:
            yield fallback
