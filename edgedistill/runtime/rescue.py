"""Requests that wait for another subnet, because those in memory gave them no usable answer."""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass, field

from edgedistill.runtime.sessions import LoadedSubnet

__all__ = ["Rescue", "Rescues"]


@dataclass(eq=False)
class Rescue:
    """One request that waits.

    Attributes:
        failed: the subnets that gave it no usable answer.
        why: what was wrong with their answers.
        is_begun: whether another subnet was looked for.
        over: set once there is another subnet, or there will be none.
    """

    failed: Collection[LoadedSubnet]
    why: str
    is_begun: bool = False
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def names(self) -> frozenset[str]:
        """Return the names of the subnets that failed."""
        return frozenset(subnet.name for subnet in self.failed)


class Rescues:
    """The requests that wait. `add` is for requests, from any thread; everything else for whoever loads subnets."""

    def __init__(self) -> None:
        self._waiting: list[Rescue] = []
        self._is_closed = False
        self._lock = threading.Lock()

    def add(self, failed: Collection[LoadedSubnet], why: str) -> Rescue:
        """Add a request, whose thread then waits for `Rescue.over`."""
        rescue = Rescue(tuple(failed), why)
        with self._lock:
            if self._is_closed:
                rescue.over.set()
            else:
                self._waiting.append(rescue)
        return rescue

    @property
    def waiting(self) -> list[Rescue]:
        """Return those that still wait, oldest first."""
        with self._lock:
            self._waiting = [rescue for rescue in self._waiting if not rescue.over.is_set()]
            return list(self._waiting)

    def close(self) -> None:
        """End every wait, and let nothing wait again."""
        with self._lock:
            self._is_closed = True
            for rescue in self._waiting:
                rescue.over.set()
