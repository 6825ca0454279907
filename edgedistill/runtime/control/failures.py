"""Leave failed subnets alone for a while, and find another subnet for requests that got no usable answer."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from edgedistill.printable import get_logger
from edgedistill.runtime.backoff import Backoff
from edgedistill.runtime.control.decide import Policy, Reason, fits_with
from edgedistill.runtime.control.execute import LOAD_LIMIT_S
from edgedistill.runtime.decisions import DecisionRecord, Decisions
from edgedistill.runtime.predict.candidates import Candidate, together_mb
from edgedistill.runtime.predict.slowdown import Size
from edgedistill.runtime.residents import Residents
from edgedistill.runtime.sensors import Readings
from edgedistill.runtime.sessions import LoadedSubnet
from edgedistill.runtime.source import Source

__all__ = ["Failures"]

_log = get_logger(__name__)

_MAX_COMPLAINTS = 64


@dataclass(eq=False)
class _Rescue:
    """Hold one request that waits for another subnet.

    Attributes:
        failed: the subnets that returned no usable answer.
        why: the fault of their answers.
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


class _Rescues:
    """Queue the requests that wait; any thread may `add`."""

    def __init__(self) -> None:
        self._waiting: list[_Rescue] = []
        self._is_closed = False
        self._lock = threading.Lock()

    def add(self, failed: Collection[LoadedSubnet], why: str) -> _Rescue:
        """Add a request, whose thread then waits for `_Rescue.over`."""
        rescue = _Rescue(tuple(failed), why)
        with self._lock:
            if self._is_closed:
                rescue.over.set()
            else:
                self._waiting.append(rescue)
        return rescue

    @property
    def waiting(self) -> list[_Rescue]:
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


class Failures:
    """Track subnets that failed, and the requests that wait for another subnet.

    `complain`, `pardon` and `wait_for_other` are for requests, from any thread; everything else is for the loop.

    Attributes:
        loads: the back-off of subnets that could not be loaded.
        quarantine: the back-off of subnets that failed at a request.
    """

    def __init__(
        self, clock: Callable[[], float], wake: Callable[[], None], residents: Residents, decisions: Decisions
    ) -> None:
        self._clock, self._wake, self._residents, self._decisions = clock, wake, residents, decisions
        self.loads = Backoff()
        self.quarantine = Backoff(first_s=30.0, longest_s=3600.0)
        self._futile_rescues = Backoff(first_s=10.0, longest_s=600.0)
        self._complaints: deque[tuple[LoadedSubnet, str]] = deque(maxlen=_MAX_COMPLAINTS)
        self._pardons: deque[LoadedSubnet] = deque(maxlen=_MAX_COMPLAINTS)
        self._rescues = _Rescues()

    def complain(self, subnet: LoadedSubnet, why: str) -> None:
        """Report that a subnet failed at a request that another could answer."""
        is_first = not self._complaints
        self._complaints.append((subnet, why))
        if is_first:
            self._wake()

    def pardon(self, failed: Sequence[LoadedSubnet]) -> None:
        """Report that no subnet could answer a request, so that it does not count against these."""
        self._pardons.extend(failed)
        self._wake()

    @property
    def has_pardons(self) -> bool:
        """Return whether a pardon is still to be processed."""
        return bool(self._pardons)

    def wait_for_other(self, failed: Sequence[LoadedSubnet], why: str) -> None:
        """Block until another subnet is in memory, or there will be none."""
        rescue = self._rescues.add(failed, why)
        self._wake()
        rescue.over.wait(LOAD_LIMIT_S)

    def allows(self, subnet: str) -> bool:
        """Return whether a subnet may be tried now."""
        now_s = self._clock()
        return self.loads.allows(subnet, now_s) and self.quarantine.allows(subnet, now_s)

    def take_in(self, source: Source) -> None:
        """Process the complaints and pardons since the last step."""
        while self._complaints:
            self._put_in_quarantine(*self._complaints.popleft(), source)
        while self._pardons:
            self._end_quarantine(self._pardons.popleft(), source)

    def _put_in_quarantine(self, subnet: LoadedSubnet, why: str, source: Source) -> None:
        now_s = self._clock()
        if subnet.source is not source or not self.quarantine.allows(subnet.name, now_s):
            return  # of an earlier palette, or reported by several requests at once
        self.quarantine.failed(subnet.name, now_s)
        _log.warning("%s is left alone for a while: %s", subnet.name, why)
        self._decisions.add(DecisionRecord(now_s, subnet.name, Reason.QUARANTINED))
        if self._residents.fallback is subnet:
            self._residents.keep_as_fallback(None)

    def _end_quarantine(self, subnet: LoadedSubnet, source: Source) -> None:
        """Trust a subnet again: no other answered that request either, so for a while none is loaded for it."""
        if subnet.source is source:
            self.quarantine.succeeded(subnet.name)
            self._futile_rescues.failed(subnet.name, self._clock())

    def begin_rescues(self, source: Source, size: Size, readings: Readings, policy: Policy, now_s: float) -> None:
        """Quarantine the subnets that failed a waiting request, so that this step turns to another one."""
        for rescue in self._rescues.waiting:
            if not rescue.is_begun and self._may_rescue(rescue, source.candidates(size), readings, policy, now_s):
                for subnet in rescue.failed:
                    self._put_in_quarantine(subnet, rescue.why, source)
            rescue.is_begun = True

    def _may_rescue(
        self, rescue: _Rescue, candidates: Sequence[Candidate], readings: Readings, policy: Policy, now_s: float
    ) -> bool:
        """Return whether there is another subnet to load, which fits in the place of those that failed."""
        if not all(self._futile_rescues.allows(name, now_s) for name in rescue.names):
            return False
        freed_mb = together_mb([c for c in candidates if c.name in rescue.names])
        room_mb = None if readings.free_mb is None else readings.free_mb + freed_mb
        others = [c for c in candidates if c.name not in rescue.names and self.allows(c.name)]
        return any(fits_with(c, [], room_mb, policy) for c in others)

    def end_rescues(self, *, is_under_way: bool) -> None:
        """Release the requests for which another subnet is in memory, or none is on its way."""
        for rescue in self._rescues.waiting:
            has_other = self._residents.other_than(*rescue.failed) is not None
            if has_other or (rescue.is_begun and not is_under_way):
                rescue.over.set()

    def forget(self) -> None:
        """Forget all failures: another palette is served."""
        for backoff in (self.loads, self.quarantine, self._futile_rescues):
            backoff.forget()

    def close(self) -> None:
        """End every wait."""
        self._rescues.close()
