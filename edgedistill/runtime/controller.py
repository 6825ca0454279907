"""The loop that owns the state: read the machine, decide, load, exchange, drain.

Requests only lease the subnet that is live and report how long they took. Everything else happens in
`Controller.step`, which one background thread repeats, so a slow load delays no request; a test calls
it by itself, with a clock of its own and no thread.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from edgedistill.errors import EdgeDistillError, SessionClosed
from edgedistill.runtime.backoff import Backoff
from edgedistill.runtime.costs import Costs
from edgedistill.runtime.onnx import OnnxSession, give_back_memory
from edgedistill.runtime.selector import Decision, Policy, Reason, State, decide
from edgedistill.runtime.sensors import Readings, Sensors
from edgedistill.runtime.sessions import LoadedSubnet, SessionState
from edgedistill.runtime.slowdown import Size, Slowdown

__all__ = ["Controller", "DecisionRecord"]

_log = logging.getLogger(__name__)

_REMEMBERED_DECISIONS = 256
_PENDING_OBSERVATIONS = 256  # more between two steps add work, not knowledge


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A decision that differed from the one before it, and what it rested on.

    Attributes:
        at_s: when, on the session's clock.
        subnet: which subnet is to serve (for `Reason.LOAD_FAILED`: which one could not be loaded).
        reason: why.
        readings: the machine at that moment.
        slowdown: high quantile of observed over expected latency; None without recent requests.
    """

    at_s: float
    subnet: str
    reason: Reason
    readings: Readings
    slowdown: float | None


class _Observation(NamedTuple):
    at_s: float
    subnet: str
    size: Size
    latency_ms: float


class Controller:
    """Keeps the right one of a palette's subnets live.

    ``create`` makes the session of a subnet by name; ``size`` is assumed until requests tell theirs.
    """

    def __init__(
        self,
        *,
        create: Callable[[str], OnnxSession],
        costs: Costs,
        sensors: Sensors,
        policy: Policy,
        clock: Callable[[], float],
        size: Size,
    ) -> None:
        self._create = create
        self._costs = costs
        self._sensors = sensors
        self._policy = policy
        self._clock = clock
        self._size = size
        self._slowdown = Slowdown(clock=clock)
        self._backoff = Backoff()
        self._pending: deque[_Observation] = deque(maxlen=_PENDING_OBSERVATIONS)
        self._records: deque[DecisionRecord] = deque(maxlen=_REMEMBERED_DECISIONS)
        self._live: LoadedSubnet | None = None
        self._since_s = 0.0
        self._retired: list[LoadedSubnet] = []
        self._pinned: str | None = None
        self._swaps = 0
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._stopping = threading.Event()

    # For the requests, from any thread.

    @contextmanager
    def lease(self) -> Iterator[LoadedSubnet]:
        """The live subnet, which stays loaded until the block ends.

        Raises:
            SessionClosed: after `close`.
        """
        live = self._acquire()
        try:
            yield live
        finally:
            live.release()

    def _acquire(self) -> LoadedSubnet:
        while True:
            live = self._live
            if live is None:
                raise SessionClosed("this session was closed; open the palette again")
            # Refused between an exchange and this line: then the successor is already live.
            if live.acquire():
                return live

    def observe(self, subnet: str, size: Size, latency_ms: float) -> None:
        """Report an answered request."""
        self._pending.append(_Observation(self._clock(), subnet, size, latency_ms))

    # For the owner, from any thread.

    @property
    def active(self) -> str:
        """The name of the live subnet.

        Raises:
            SessionClosed: after `close`.
        """
        live = self._live
        if live is None:
            raise SessionClosed("this session was closed; open the palette again")
        return live.name

    @property
    def decisions(self) -> tuple[DecisionRecord, ...]:
        """The last decisions, newest last; a decision that repeats the one before is not listed again."""
        return tuple(self._records)

    @property
    def swaps(self) -> int:
        """How often the live subnet was exchanged."""
        return self._swaps

    def pin(self, subnet: str | None) -> None:
        """Make the next steps serve this subnet whatever the machine says; None lets them choose again."""
        self._pinned = subnet
        self._wake.set()

    def start(self, interval_s: float) -> None:
        """Repeat `step` in the background, every ``interval_s`` seconds and when there is something to do."""
        self._thread = threading.Thread(target=self._loop, args=(interval_s,), name="edgedistill", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop deciding, let the requests under way end, and drop every session."""
        self._stopping.set()
        self._wake.set()
        if self._thread is None:
            self._shut()
        elif self._thread is not threading.current_thread():
            self._thread.join()

    # The loop's own.

    def _loop(self, interval_s: float) -> None:
        try:
            while not self._stopping.is_set():
                self._wake.wait(interval_s)
                self._wake.clear()
                self._step_safely()
        finally:
            self._shut()

    def _step_safely(self) -> None:
        try:
            self.step()
        except Exception:  # noqa: BLE001 (the live subnet goes on serving; a later step may do better)
            _log.exception("a step of the runtime failed")

    def step(self) -> None:
        """Read, decide, and swap if need be.

        Raises:
            LoadError: the very first subnet could not be loaded.
        """
        self._close_drained()
        self._take_in()
        now_s = self._clock()
        readings, slowdown = self._sensors.read(), self._slowdown.high()
        decision = self._decide(readings, slowdown, now_s)
        self._record(DecisionRecord(now_s, decision.subnet, decision.reason, readings, slowdown))
        if self._live is None or decision.subnet != self._live.name:
            self._swap_to(decision)

    def _take_in(self) -> None:
        while self._pending:
            seen = self._pending.popleft()
            self._slowdown.add(seen.at_s, self._costs.ratio(seen.subnet, seen.size, seen.latency_ms), seen.size)
        self._size = self._slowdown.size() or self._size

    def _decide(self, readings: Readings, slowdown: float | None, now_s: float) -> Decision:
        active = self._live.name if self._live else None
        pinned = self._pinned
        if pinned is not None and (pinned == active or active is None or self._backoff.allows(pinned, now_s)):
            return Decision(pinned, Reason.PINNED)
        if pinned is not None and active is not None:
            return Decision(active, Reason.KEEP)
        allowed = [
            c for c in self._costs.candidates(self._size) if c.name == active or self._backoff.allows(c.name, now_s)
        ]
        return decide(allowed, readings, State(active, self._since_s, slowdown), self._policy, now_s)

    def _record(self, record: DecisionRecord) -> None:
        last = self._records[-1] if self._records else None
        if last is not None and (last.subnet, last.reason) == (record.subnet, record.reason):
            return
        self._records.append(record)
        if record.reason is Reason.NO_FIT_SMALLEST:
            _log.warning("no subnet meets the budgets: the smallest, %s, serves", record.subnet)

    def _swap_to(self, decision: Decision) -> None:
        try:
            fresh = LoadedSubnet(decision.subnet, self._create(decision.subnet), self._wake.set)
        except EdgeDistillError as error:
            if self._live is None:
                raise
            self._note_failure(decision.subnet, error)
            return
        self._backoff.succeeded(decision.subnet)
        # Requests beside our own load were slowed by it: they tell nothing of the others.
        self._pending.clear()
        self._exchange(fresh, decision.reason)

    def _note_failure(self, subnet: str, error: EdgeDistillError) -> None:
        now_s = self._clock()
        if self._backoff.failed(subnet, now_s) == 1:
            _log.warning("%s could not be loaded, %s goes on serving: %s", subnet, self.active, error)
        self._record(DecisionRecord(now_s, subnet, Reason.LOAD_FAILED, Readings(), None))

    def _exchange(self, fresh: LoadedSubnet, reason: Reason) -> None:
        old, self._live = self._live, fresh
        self._since_s = self._clock()
        if old is None:
            return
        self._swaps += 1
        _log.info("%s serves instead of %s: %s", fresh.name, old.name, reason)
        self._retired.append(old)
        old.retire()
        self._close_drained()

    def _close_drained(self) -> None:
        drained = [subnet for subnet in self._retired if subnet.state is SessionState.DRAINED]
        for subnet in drained:
            subnet.close()
            self._retired.remove(subnet)
        if drained:
            give_back_memory()

    def _shut(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            self._retired.append(live)
            live.retire()
        for subnet in self._retired:
            subnet.wait_drained()
        self._close_drained()
