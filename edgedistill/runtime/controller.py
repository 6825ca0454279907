"""The loop that owns the state: read the machine, decide, load, exchange, drain.

Requests only lease the subnet that is live and report how they fared. Everything else happens in `Controller.step`,
which one background thread repeats; loads have a thread of their own, so that one that hangs delays no decision. A
test calls `step` by itself, with a clock of its own and no thread.

The smallest subnet stays in memory beside the one that serves. It takes over at once when the live one no longer
fits, until the one that was decided for is loaded; it is what serves while too little memory is left for two; and it
answers a request that the live one failed at.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from edgedistill.errors import SessionClosed
from edgedistill.runtime.backoff import Backoff
from edgedistill.runtime.decisions import DecisionRecord, Decisions
from edgedistill.runtime.heat import Heat, HeatTrend
from edgedistill.runtime.loading import Loader, Spawn, in_background
from edgedistill.runtime.reload import NewPalette, Reloader
from edgedistill.runtime.residents import Residents
from edgedistill.runtime.selector import (
    Candidate,
    Decision,
    Policy,
    Reason,
    State,
    decide,
    fits_beside,
    predicted_p95_ms,
    smallest,
)
from edgedistill.runtime.sensors import Readings, Sensors
from edgedistill.runtime.sessions import LoadedSubnet
from edgedistill.runtime.slowdown import Size, Slowdown
from edgedistill.runtime.source import Source

__all__ = ["Controller"]

_log = logging.getLogger(__name__)

_PENDING_OBSERVATIONS = 64  # more between two steps add work, not knowledge
_REMEMBERED_SWAPS = 1000
_LOAD_LIMIT_S = 60.0
_LOAD_NOISE_S = 2.0  # for so long requests beside a load of ours tell nothing of the others
_NEW_PALETTE = "a new palette"  # what the loader calls it; no subnet's name has a space
# From these the smallest takes over at once, if it is better off.
_URGENT = {Reason.TOO_SLOW, Reason.LOW_MEMORY, Reason.QUARANTINED, Reason.NO_FIT_SMALLEST}


class _Observation(NamedTuple):
    at_s: float
    subnet: LoadedSubnet
    size: Size
    latency_ms: float


class _Heading(NamedTuple):
    """The subnet that was decided for, and when."""

    subnet: str
    since_s: float
    reason: Reason


class Controller:
    """Keeps the right one of a palette's subnets live.

    ``size`` is assumed until requests tell theirs; ``spawn`` runs loads; ``reloader`` tells of a palette put in place.
    """

    def __init__(
        self,
        *,
        source: Source,
        sensors: Sensors,
        policy: Policy,
        clock: Callable[[], float],
        size: Size,
        listener: Callable[[DecisionRecord], None] | None = None,
        spawn: Spawn = in_background,
        reloader: Reloader | None = None,
    ) -> None:
        self._source = source
        self._sensors = sensors
        self._policy = policy
        self._clock = clock
        self._size = size
        self._reloader = reloader
        self.decisions = Decisions(listener)
        self._slowdown = Slowdown()
        self._heat = HeatTrend(policy.max_temperature_c)
        self._backoff = Backoff()
        self._quarantine = Backoff(first_s=30.0, longest_s=3600.0)
        self._residents = Residents()
        self._wake = threading.Event()
        self._loader: Loader[LoadedSubnet | NewPalette] = Loader(clock, self._wake.set, spawn)
        self._heading: _Heading | None = None
        self._pending: deque[_Observation] = deque(maxlen=_PENDING_OBSERVATIONS)
        self._complaints: deque[tuple[LoadedSubnet, str]] = deque()
        self._swaps_s: deque[float] = deque(maxlen=_REMEMBERED_SWAPS)
        self._swaps = 0
        self._pinned: str | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    # For the requests, from any thread.

    def acquire(self) -> LoadedSubnet:
        """Lease the live subnet; the caller releases it.

        Raises:
            SessionClosed: after `close`.
        """
        return self._residents.acquire()

    def acquire_floor(self) -> LoadedSubnet | None:
        """Lease the smallest subnet, where it is in memory beside the live one."""
        return self._residents.acquire_floor()

    def acquire_for(self, deadline_ms: float, size: Size) -> LoadedSubnet:
        """Lease the live subnet, or the smallest where only that is expected to answer in time."""
        live = self.acquire()
        if self._expected_ms(live, size) <= deadline_ms:
            return live
        floor = self.acquire_floor()
        if floor is None:
            return live
        live.release()
        return floor

    def _expected_ms(self, subnet: LoadedSubnet, size: Size) -> float:
        assert subnet.source is not None
        candidate, slowdown = subnet.source.costs.candidate(subnet.name, size), self._slowdown.estimate(self._clock())
        return predicted_p95_ms(candidate, None, slowdown, self._policy.confidence) or 0.0

    def observe(self, subnet: LoadedSubnet, size: Size, latency_ms: float) -> None:
        """Report an answered request."""
        self._pending.append(_Observation(self._clock(), subnet, size, latency_ms))

    def complain(self, subnet: LoadedSubnet, why: str) -> None:
        """Report that a subnet failed at what the smallest could answer."""
        self._complaints.append((subnet, why))
        self._wake.set()

    # For the owner, from any thread.

    @property
    def active(self) -> str:
        """The name of the live subnet.

        Raises:
            SessionClosed: after `close`.
        """
        live = self._residents.live
        if live is None:
            raise SessionClosed("this session was closed; open the palette again")
        return live.name

    @property
    def source(self) -> Source:
        """Where subnets come from now."""
        return self._source

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
            self._residents.close()
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
            self._residents.close()

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
        self._residents.close_drained()
        self._take_in()
        self._finish_load()
        now_s = self._clock()
        readings = self._sensors.read()
        decision = self._decide(readings, self._heat.add(now_s, readings), now_s)
        slowdown = self._slowdown.estimate(now_s)
        self.decisions.add(
            DecisionRecord(now_s, decision.subnet, decision.reason, readings, slowdown, decision.expected)
        )
        self._follow(decision, readings, now_s)
        self._finish_load()  # where it ran at once

    def _take_in(self) -> None:
        costs, beside_a_load = self._source.costs, 0 < self._loader.since_s() < _LOAD_NOISE_S
        for _ in range(len(self._pending)):  # and not what comes meanwhile
            seen = self._pending.popleft()
            if seen.subnet.source is self._source:
                ratio = None if beside_a_load else costs.ratio(seen.subnet.name, seen.size, seen.latency_ms)
                self._slowdown.add(seen.at_s, ratio, seen.size)
        self._size = self._slowdown.size(self._clock()) or self._size
        while self._complaints:
            self._put_in_quarantine(*self._complaints.popleft())

    # Decisions.

    def _candidates(self) -> list[Candidate]:
        """Those that may serve; where all are left alone for a while, all."""
        every = self._source.candidates(self._size)
        return [c for c in every if self._allowed(c.name)] or every

    def _allowed(self, subnet: str) -> bool:
        now_s = self._clock()
        return self._backoff.allows(subnet, now_s) and self._quarantine.allows(subnet, now_s)

    def _decide(self, readings: Readings, heat: Heat, now_s: float) -> Decision:
        live, at = self._residents.live, self._heading
        if self._pinned is not None and (live is None or self._allowed(self._pinned)):
            return Decision(self._pinned, Reason.PINNED)
        if self._pinned is not None and live is not None:
            return Decision(live.name, Reason.KEEP)
        candidates = self._candidates()
        state = State(
            active=at.subnet if at is not None and any(c.name == at.subnet for c in candidates) else None,
            since_s=at.since_s if at else 0.0,
            slowdown=self._slowdown.estimate(now_s),
            resident=self._residents.names,
            swaps_s=tuple(self._swaps_s),
            hot=heat.hot,
            warm=heat.warm,
        )
        decision = decide(candidates, readings, state, self._policy, now_s)
        if live is not None and state.active is None:
            return Decision(decision.subnet, Reason.QUARANTINED, decision.expected)
        return decision

    def _follow(self, decision: Decision, readings: Readings, now_s: float) -> None:
        """Go where the decision says: at once, or step by step while it loads."""
        live, floor = self._residents.live, self._residents.floor
        if self._heading is None or self._heading.subnet != decision.subnet:
            self._heading = _Heading(decision.subnet, now_s, decision.reason)
        if live is None:
            self._go(self._source.load(decision.subnet, self._wake.set))
        elif decision.subnet == live.name:
            self._when_settled(readings)
        elif floor is not None and decision.subnet == floor.name:
            self._loader.abandon()
            self._go(floor)
        elif self._loader.loading != decision.subnet:
            self._set_out(decision.subnet, readings, now_s)

    def _set_out(self, subnet: str, readings: Readings, now_s: float) -> None:
        """Begin to load it; the smallest serves meanwhile where the live one no longer fits, or not beside it."""
        live, floor, heading = self._residents.live, self._residents.floor, self._heading
        assert live is not None
        assert heading is not None
        self._loader.abandon()
        beside = self._fits_beside(subnet, readings)
        if floor is not None and floor is not live and (not beside or heading.reason in _URGENT):
            self.decisions.add(DecisionRecord(now_s, floor.name, Reason.BRIDGE, readings))
            self._go(floor)
        if beside or (floor is live and not self._residents.draining):
            self._load(subnet)
        elif floor is None:
            self._load(smallest(self._candidates()).name)

    def _fits_beside(self, subnet: str, readings: Readings) -> bool:
        costs = self._source.costs
        known = {c.name: c for c in costs.candidates(self._size)}
        loaded = [known[name] for name in self._residents.held if name in known]
        return fits_beside(costs.candidate(subnet, self._size), loaded, readings.free_mb, self._policy)

    def _when_settled(self, readings: Readings) -> None:
        """What can wait until the right one serves: the safety net, and a new palette."""
        wanted, floor, live = smallest(self._candidates()), self._residents.floor, self._residents.live
        assert live is not None
        if self._loader.loading in (wanted.name, _NEW_PALETTE):
            return
        self._loader.abandon()  # what was wanted a moment ago
        if self._reloader is not None and self._reloader.changed(self._clock()):
            reloader, subnet = self._reloader, live.name
            self._loader.start(_NEW_PALETTE, lambda: reloader.prove(subnet, self._wake.set))
        elif wanted.name == live.name:
            self._residents.keep_as_floor(live)
        elif (floor is None or floor.name != wanted.name) and self._fits_beside(wanted.name, readings):
            self._load(wanted.name)

    # Loads and exchanges.

    def _load(self, subnet: str) -> None:
        source = self._source
        self._loader.start(subnet, lambda: source.load(subnet, self._wake.set))

    def _finish_load(self) -> None:
        found = self._loader.poll(_LOAD_LIMIT_S)
        if found is None:
            return
        name, brought = found
        if isinstance(brought, NewPalette):
            self._renew(brought)
        elif isinstance(brought, LoadedSubnet):
            self._backoff.succeeded(name)
            # Requests beside our own load were slowed by it: they tell nothing of the others.
            self._pending.clear()
            self._place(brought)
        elif name == _NEW_PALETTE:
            _log.warning("the new palette is not served, the old one goes on: %s", brought)
            self.decisions.add(DecisionRecord(self._clock(), self.active, Reason.RELOAD_FAILED))
        else:
            self._note_failure(name, brought)

    def _place(self, fresh: LoadedSubnet) -> None:
        """Where it was loaded for: to serve, or to stand by."""
        heading, live = self._heading, self._residents.live
        if heading is not None and heading.subnet == fresh.name and (live is None or live.name != fresh.name):
            self._go(fresh)
        else:
            self._residents.keep_as_floor(fresh)  # nothing else is loaded once what serves is the right one

    def _go(self, fresh: LoadedSubnet) -> None:
        """Exchange."""
        old = self._residents.live
        self._residents.exchange(fresh)
        if old is None:
            return
        self._swaps += 1
        self._swaps_s.append(self._clock())
        _log.info("%s serves instead of %s", fresh.name, old.name)
        self._residents.close_drained()

    def _renew(self, new: NewPalette) -> None:
        """Serve from a palette that was proven; sessions of the old one drain."""
        self._source = new.source
        self._backoff.forget()
        self._quarantine.forget()
        self._slowdown = Slowdown()
        now_s = self._clock()
        serving = new.live or new.floor
        self._heading = _Heading(serving.name, now_s, Reason.RELOADED)
        self._residents.keep_as_floor(new.floor)
        self._go(serving)
        self.decisions.add(DecisionRecord(now_s, serving.name, Reason.RELOADED))

    # Failures.

    def _note_failure(self, subnet: str, error: Exception) -> None:
        now_s = self._clock()
        if self._backoff.failed(subnet, now_s) == 1:
            _log.warning("%s could not be loaded, %s goes on serving: %s", subnet, self.active, error)
        self.decisions.add(DecisionRecord(now_s, subnet, Reason.LOAD_FAILED))
        live = self._residents.live
        if live is not None:
            self._heading = _Heading(live.name, now_s, Reason.KEEP)

    def _put_in_quarantine(self, subnet: LoadedSubnet, why: str) -> None:
        now_s = self._clock()
        if subnet.source is not self._source or not self._quarantine.allows(subnet.name, now_s):
            return  # of a palette that is gone, or complained of by several requests at once
        self._quarantine.failed(subnet.name, now_s)
        _log.warning("%s is left alone for a while: %s", subnet.name, why)
        self.decisions.add(DecisionRecord(now_s, subnet.name, Reason.QUARANTINED))
        if self._residents.floor is subnet:
            self._residents.keep_as_floor(None)
