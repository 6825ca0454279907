"""The loop that owns the state: read the machine, decide, load, exchange, drain.

Requests only lease the subnet that is live and report how they fared. Everything else happens in `Controller.step`,
which one background thread repeats; loads have a thread of their own, so that one that hangs delays no decision. A
test calls `step` by itself, with a clock of its own and no thread.

The smallest subnet stays in memory beside the one that serves. It takes over at once when the live one no longer
fits, until the one that was decided for is loaded; it is what serves while too little memory is left for two; and it
answers a request that the live one failed at.
"""

from __future__ import annotations

import atexit
import math
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from edgedistill.printable import get_logger
from edgedistill.runtime.backoff import Backoff
from edgedistill.runtime.control.decide import Decision, Policy, Reason, State, decide, fits_beside
from edgedistill.runtime.decisions import DecisionRecord, Decisions
from edgedistill.runtime.forks import AFTER_FORK, leak
from edgedistill.runtime.limits import UnreadLimits
from edgedistill.runtime.loading import Loader
from edgedistill.runtime.observations import Observations
from edgedistill.runtime.predict.candidates import Candidate, predicted_p95_ms, together_mb
from edgedistill.runtime.predict.drift import Drift
from edgedistill.runtime.predict.heat import HeatTrend
from edgedistill.runtime.predict.slowdown import Size, Slowdown
from edgedistill.runtime.reload import NewPalette, Reloader
from edgedistill.runtime.rescue import Rescue, Rescues
from edgedistill.runtime.residents import Residents
from edgedistill.runtime.sensors import Readings, Sensors
from edgedistill.runtime.sessions import Lease, LoadedSubnet
from edgedistill.runtime.source import Source
from edgedistill.runtime.stopping import Spawn, Worker, apart

__all__ = ["CLOSING_S", "Controller"]

_log = get_logger(__name__)

_COMPLAINTS = 64
_REMEMBERED_SWAPS = 1000
_LOAD_LIMIT_S = 60.0
_FIRST_LOAD_LIMIT_S = 300.0  # of a device that has just started, too; until then nothing is served
CLOSING_S = 30.0  # what requests have to end in before they are stopped
_STOPPED_LOAD_S = 1.0  # what a load has to end in once it is stopped
_PROOF_LIMIT_S = 900.0  # it reads every byte, of a slow card too
_NEW_PALETTE = "a new palette"  # what the loader calls it; no subnet's name has a space
_SOON_S = 5.0  # a rise that is taken back so soon was a mistake
_PROVEN_S = 60.0  # one that has served for so long was none
_LOGGED_EVERY_S = 600.0  # what fails at every step must not fill the log
# From these the smallest takes over at once, if it is better off.
_URGENT = {Reason.TOO_SLOW, Reason.LOW_MEMORY, Reason.QUARANTINED, Reason.NO_FIT_SMALLEST}
_WAITING = {Reason.KEEP, Reason.DWELL, Reason.SWAP_LIMIT}


class _Heading(NamedTuple):
    """The subnet that was decided for, why, and since when: the decision, and once it serves, that."""

    subnet: str
    since_s: float
    reason: Reason


_running: weakref.WeakSet[Controller] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Before the interpreter ends: it would crash under a load or a request of its threads."""
    for controller in list(_running):
        controller.close()


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
        spawn: Spawn = Worker,
        reloader: Reloader | None = None,
    ) -> None:
        self._source = source
        self._sensors = sensors
        self._policy = policy
        self._clock = clock
        self._size = self._usual_size = size
        self._reloader = reloader
        self.decisions = Decisions(listener)
        self._slowdown = Slowdown()
        self.drift = Drift()
        self._heat = HeatTrend(policy.max_temperature_c)
        self._unread_limits = UnreadLimits(policy.limits, sensors)
        self._backoff = Backoff()
        self._quarantine = Backoff(first_s=30.0, longest_s=3600.0)
        self._rises = Backoff(first_s=10.0, longest_s=600.0)
        self.residents = Residents()
        self._wake = threading.Event()
        self._loader = Loader(clock, self._wake.set, spawn)
        self._heading: _Heading | None = None
        self._pending = Observations(policy.max_latency_ms, self._wake.set)
        self.observe = self._pending.add
        self._complaints: deque[tuple[LoadedSubnet, str]] = deque(maxlen=_COMPLAINTS)
        self._rescues = Rescues()
        self._pardons: deque[LoadedSubnet] = deque(maxlen=_COMPLAINTS)
        self._futile_rescues = Backoff(first_s=10.0, longest_s=600.0)
        self._swaps_s: deque[float] = deque(maxlen=_REMEMBERED_SWAPS)
        self._swaps = 0
        self._exchanged_for = Reason.FIRST
        self._pinned: str | None = None
        self._pin_lock = threading.Lock()
        self._logged_s = -math.inf
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    # For the requests, from any thread.

    def lease(self) -> Lease:
        """Of the live subnet.

        Raises:
            SessionClosed: after `close`.
        """
        return self.residents.lease()

    def lease_for(self, deadline_ms: float, size: Size) -> Lease:
        """Of `in_time`.

        Raises:
            SessionClosed: after `close`.
        """
        return self.residents.lease(lambda: self.in_time(deadline_ms, size))

    def in_time(self, deadline_ms: float, size: Size) -> LoadedSubnet:
        """The live subnet, or the smallest where only that is expected to answer in time.

        Raises:
            SessionClosed: after `close`.
        """
        live = self.residents.serving()
        if self._expected_ms(live, size) > deadline_ms:
            return self.residents.other_than(live) or live
        return live

    def other_than(self, failed: Sequence[LoadedSubnet], why: str, *, may_load: bool) -> LoadedSubnet | None:
        """Return another subnet for a request that these failed; None where there is none.

        ``may_load``: wait for one to be loaded where no other is in memory. Then call `pardon` if that fails as well.
        """
        other = self.residents.other_than(*failed)
        if other is not None or not may_load or self._thread in (None, threading.current_thread()):
            return other
        rescue = self._rescues.add(failed, why)
        self._wake.set()
        rescue.over.wait(_LOAD_LIMIT_S)
        return self.residents.other_than(*failed)

    def pardon(self, failed: Sequence[LoadedSubnet]) -> None:
        """Report that no subnet could answer a request, so that it says nothing against these."""
        self._pardons.extend(failed)
        self._wake.set()

    def _expected_ms(self, subnet: LoadedSubnet, size: Size) -> float:
        assert subnet.source is not None
        candidate, slowdown = subnet.source.costs.candidate(subnet.name, size), self._slowdown.estimate(self._clock())
        return predicted_p95_ms(candidate, None, slowdown, self._policy.confidence) or 0.0

    def complain(self, subnet: LoadedSubnet, why: str) -> None:
        """Report that a subnet failed at what another could answer."""
        is_first = not self._complaints
        self._complaints.append((subnet, why))
        if is_first:
            self._wake.set()

    # For the owner, from any thread.

    @property
    def active(self) -> str:
        """The name of the live subnet.

        Raises:
            SessionClosed: after `close`.
        """
        return self.live.name

    @property
    def live(self) -> LoadedSubnet:
        """The live subnet; whoever runs it leases it.

        Raises:
            SessionClosed: after `close`.
        """
        return self.residents.serving()

    @property
    def floor(self) -> LoadedSubnet | None:
        """The smallest, where it is in memory to take over at once."""
        return self.residents.floor

    @property
    def resident(self) -> tuple[str, ...]:
        """Return the names of the subnets in memory, the live one first."""
        live, names = self.residents.live, self.residents.names
        return tuple(sorted(names, key=lambda name: (live is None or name != live.name, name)))

    @property
    def exchanged_for(self) -> Reason:
        """Why the live subnet was exchanged last."""
        return self._exchanged_for

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
        with self._pin_lock:
            self._pinned = subnet
        self._wake.set()

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

    @property
    def is_closed(self) -> bool:
        """Return whether it was stopped."""
        return self._stopping.is_set()

    @property
    def pinned(self) -> str | None:
        """Return the name of the subnet that is pinned."""
        return self._pinned

    def abandon(self) -> None:
        """Serve nothing in a process that was forked from the one that has its threads, and free nothing."""
        _running.discard(self)
        leak(self, self.residents.live, self.residents.floor)
        self.residents.abandon(AFTER_FORK)

    def close(self) -> None:
        """Stop deciding, let the requests under way end, and drop every session.

        From within a request, or from the listener, it does not wait for what it would itself hold up.
        """
        self.stop()
        if self._thread is None:
            self.residents.close(CLOSING_S)
        elif self._thread is threading.current_thread() or self.residents.is_held_by(threading.get_ident()):
            return
        else:
            self._thread.join()
        self._loader.close(_STOPPED_LOAD_S)

    # The loop's own.

    def _loop(self, interval_s: float) -> None:
        try:
            while not self._stopping.is_set():
                self._wake.wait(interval_s)
                self._wake.clear()
                if not self._stopping.is_set():
                    self._step_safely()
        finally:
            self._rescues.close()
            self.residents.close(CLOSING_S)

    def _step_safely(self) -> None:
        try:
            self.step()
        except Exception:  # noqa: BLE001 (the live subnet goes on serving; a later step may do better)
            self._log_now_and_then("a step of the runtime failed")

    def _log_now_and_then(self, text: str) -> None:
        now_s = self._clock()
        if now_s - self._logged_s >= _LOGGED_EVERY_S:
            self._logged_s = now_s
            _log.exception(text)

    def step(self) -> None:
        """Read, decide, and swap if need be.

        Raises:
            LoadError: the very first subnet could not be loaded.
        """
        self.residents.close_drained()
        is_beside_a_load = self._loader.is_busy  # requests of then tell nothing of the others
        self._finish_load()
        now_s, readings = self._clock(), self._read()
        self._slowdown.look(now_s, readings.other_load)
        self._take_in(is_beside_a_load, readings)
        self._begin_rescues(readings, now_s)
        decision = self._decide(readings, now_s)
        self._record(decision, readings, now_s)
        self._follow(decision, readings, now_s)
        self._finish_load()  # where it ran at once
        self._end_rescues()

    def _read(self) -> Readings:
        try:
            readings = self._sensors.read()
        except Exception:  # noqa: BLE001 (an application's own sensors: decisions go on without them)
            self._log_now_and_then("the sensors failed")
            return Readings()
        self._unread_limits.look(readings)
        return readings

    def _take_in(self, is_beside_a_load: bool, readings: Readings) -> None:
        """What requests have told since the last step."""
        for seen in self._pending.take():
            if seen.subnet.source is self._source:
                ratio = self._source.costs.ratio(seen.subnet.name, seen.size, seen.latency_ms)
                self._slowdown.add(seen.at_s, None if is_beside_a_load else ratio, seen.size)
                if ratio is not None and not is_beside_a_load:
                    self.drift.add(seen.subnet.name, ratio, readings)
        self._size = self._slowdown.size(self._clock()) or self._size
        while self._complaints:
            self._put_in_quarantine(*self._complaints.popleft())
        while self._pardons:
            self._end_quarantine(self._pardons.popleft())

    # Decisions.

    def _allowed(self, subnet: str) -> bool:
        now_s = self._clock()
        return self._backoff.allows(subnet, now_s) and self._quarantine.allows(subnet, now_s)

    def _candidates(self) -> list[Candidate]:
        """Those that may serve; where all are left alone for a while, all."""
        every = self._source.candidates(self._size)
        return [c for c in every if self._allowed(c.name)] or every

    def _floor_name(self) -> str:
        """Of the safety net: by the usual size, or it would change with every request's."""
        return self._source.floor(self._usual_size, self._allowed)

    def _decide(self, readings: Readings, now_s: float) -> Decision:
        heat = self._heat.add(now_s, readings)
        pinned = self._decide_pinned()
        if pinned is not None:
            return pinned
        live, at, candidates = self.residents.live, self._heading, self._candidates()
        names = frozenset(c.name for c in candidates)
        state = State(
            active=at.subnet if at is not None and at.subnet in names else None,
            since_s=at.since_s if at else 0.0,
            slowdown=self._slowdown.estimate(now_s),
            resident=self.residents.names,
            swaps_s=tuple(self._swaps_s),
            floor=self._floor_name(),
            unproven=frozenset(name for name in names if not self._rises.allows(name, now_s)),
            hot=heat.hot,
            warm=heat.warm,
        )
        decision = decide(candidates, readings, state, self._policy, now_s)
        if live is not None and state.active is None:
            return replace(decision, reason=Reason.QUARANTINED)
        return decision

    def _decide_pinned(self) -> Decision | None:
        """What a pin asks for; None without one."""
        pinned, live, floor = self._pinned, self.residents.live, self.residents.floor
        if pinned is None or self._is_pinned_in_vain(pinned):
            return None
        if live is None or self._allowed(pinned):
            return Decision(pinned, Reason.PINNED)
        if self._quarantine.allows(pinned, self._clock()):
            return Decision(live.name, Reason.KEEP)  # it cannot be loaded yet
        return Decision((floor or live).name, Reason.QUARANTINED)

    def _is_pinned_in_vain(self, pinned: str) -> bool:
        """Whether the palette that is served now has none of that name; such a pin ends."""
        if any(c.name == pinned for c in self._source.candidates(self._size)):
            return False
        with self._pin_lock:
            if self._pinned == pinned:  # and no other since
                self._pinned = None
        _log.warning("the new palette has no %s, which was pinned: it is no more", pinned)
        return True

    def _record(self, decision: Decision, readings: Readings, now_s: float) -> None:
        live = self.residents.live
        is_loading = live is not None and live.name != decision.subnet and decision.reason in _WAITING
        reason = Reason.LOADING if is_loading else decision.reason
        slowdown = self._slowdown.estimate(now_s)
        self.decisions.add(
            DecisionRecord(now_s, decision.subnet, reason, readings, slowdown, decision.expected, decision.limits)
        )

    # Where decisions lead.

    def _follow(self, decision: Decision, readings: Readings, now_s: float) -> None:
        """Go where the decision says: at once, or step by step while it loads."""
        if self._heading is None or self._heading.subnet != decision.subnet:
            self._turn(_Heading(decision.subnet, now_s, decision.reason))
        live, floor = self.residents.live, self.residents.floor
        if live is None:
            source = self._source
            self._go(apart(lambda: source.load(decision.subnet, self._wake.set), _FIRST_LOAD_LIMIT_S))
            return
        if floor is not None and decision.subnet == floor.name:
            self._go(floor)
        elif live.name == self._floor_name():
            self.residents.keep_as_floor(live)
        if decision.subnet not in self.residents.names:
            self._bridge(decision.subnet, readings, now_s)
        self._reconcile(self._wanted_load(decision.subnet, readings))

    def _turn(self, heading: _Heading) -> None:
        """Head for another subnet; one that was risen to a moment ago, and is left again, was a mistake."""
        left = self._heading
        is_left = heading.reason in _URGENT or heading.reason is Reason.SENSOR_LIMIT
        if left is not None and left.reason is Reason.BETTER_FITS and is_left:
            served_s = heading.since_s - left.since_s
            # Sensors follow the load slowly, so that a limit shows a mistake late.
            if served_s < (_PROVEN_S if heading.reason is Reason.SENSOR_LIMIT else _SOON_S):
                self._rises.failed(left.subnet, heading.since_s)
            elif served_s >= _PROVEN_S:
                self._rises.succeeded(left.subnet)
        self._heading = heading

    def _bridge(self, subnet: str, readings: Readings, now_s: float) -> None:
        """Let the smallest serve until it is loaded, where the live one no longer fits, or not beside it."""
        live, floor, heading = self.residents.live, self.residents.floor, self._heading
        assert heading is not None
        if floor is None or floor is live:
            return
        if heading.reason in _URGENT or not self._fits_beside(readings, subnet):
            self.decisions.add(DecisionRecord(now_s, floor.name, Reason.BRIDGE, readings))
            self._go(floor)

    def _wanted_load(self, subnet: str, readings: Readings) -> str | None:
        """What to load next: what was decided for, then a new palette, then the safety net."""
        live, floor, net = self.residents.live, self.residents.floor, self._floor_name()
        has_net = floor is not None and floor.name == net
        if subnet not in self.residents.names:
            if live is floor and self._has_just_run_short():
                return None
            if self._fits_beside(readings, subnet):
                return subnet
            if not has_net:
                return net
            # Nothing else can be given back once the smallest is alone in memory.
            return subnet if live is floor and not self.residents.draining else None
        if self._reloader is not None and self._reloader.is_due(self._clock()):
            return _NEW_PALETTE
        return net if not has_net and self._fits_beside(readings, net) else None

    def _has_just_run_short(self) -> bool:
        """Whether the smallest took over a moment ago for a lack of memory.

        It may go on falling, and no load can be stopped: what is free is looked at again first.
        """
        heading = self._heading
        if heading is None or heading.reason is not Reason.LOW_MEMORY or not self._swaps_s:
            return False
        return self._clock() - self._swaps_s[-1] < self._policy.dwell_s

    def _reconcile(self, wanted: str | None) -> None:
        """Begin it, unless something else is still being loaded: that cannot be stopped."""
        if wanted is None or not self._loader.is_free or wanted in self._loader.names:
            return
        if wanted == _NEW_PALETTE:
            self._prove()
            return
        source = self._source
        self._loader.start(wanted, lambda: source.load(wanted, self._wake.set), _LOAD_LIMIT_S)

    def _prove(self) -> None:
        """Prove the new palette by as many of its subnets as memory allows: it is held beside the old one."""
        live, floor, reloader = self.residents.live, self.residents.floor, self._reloader
        assert live is not None
        assert reloader is not None
        net = self._floor_name()
        both = {live.name, net}
        if self._fits_beside(Readings(), *both):
            subnet: str | None = live.name
        elif floor is None or floor is live or self._fits_beside(Readings(), net):
            subnet = None
        else:
            self.residents.keep_as_floor(None)  # the new one takes its place; when it has drained
            return
        self._loader.start(_NEW_PALETTE, lambda: reloader.prove(subnet, self._wake.set), _PROOF_LIMIT_S)

    def _fits_beside(self, readings: Readings, *subnets: str) -> bool:
        """Whether these can be loaded beside all that is in memory, and on its way there."""
        known = {c.name: c for c in self._source.costs.candidates(self._size)}
        loading = [name for name in self._loader.names if name not in subnets]
        beside = [known[name] for name in (*self.residents.held, *loading) if name in known]
        asked = [known[name] for name in subnets]
        return all(
            fits_beside(one, [*beside, *asked[:place]], readings.free_mb, self._policy)
            for place, one in enumerate(asked)
        )

    # Loads and exchanges.

    def _finish_load(self) -> None:
        found = self._loader.poll()
        if found is None:
            return
        if found.name == _NEW_PALETTE:
            self._finish_proof(found.brought, found.error)
        elif found.error is not None:
            self._note_failure(found.name, found.error)
        else:
            self._backoff.succeeded(found.name)
            self._pending.clear()  # requests beside the load
            self._place(found.brought)

    def _place(self, fresh: LoadedSubnet) -> None:
        """Where it is wanted: to serve, to stand by, or nowhere any more."""
        heading, live = self._heading, self.residents.live
        is_there = fresh.name in self.residents.names or fresh.source is not self._source
        if not is_there and heading is not None and heading.subnet == fresh.name and live is not None:
            self._go(fresh)
        elif not is_there and fresh.name == self._floor_name():
            self.residents.keep_as_floor(fresh)
        else:
            self.residents.drop(fresh)

    def _go(self, fresh: LoadedSubnet) -> None:
        """Exchange."""
        old, heading = self.residents.live, self._heading
        if old is fresh:
            return
        if heading is not None and heading.subnet == fresh.name:
            self._heading = heading._replace(since_s=self._clock())
        if heading is not None:
            self._exchanged_for = heading.reason  # told before the exchange is seen
        self.residents.exchange(fresh)
        if old is not None:
            self._swaps += 1
            self._swaps_s.append(self._clock())
            _log.info("%s serves instead of %s", fresh.name, old.name)
            self.residents.close_drained()

    def _finish_proof(self, new: NewPalette | None, error: Exception | None) -> None:
        assert self._reloader is not None
        now_s = self._clock()
        if new is not None:
            self._reloader.served(new)
            self._renew(new, now_s)
            return
        assert error is not None
        message = self._reloader.failed(error, now_s)
        if message is None:
            return
        _log.warning("%s", message)
        self.decisions.add(DecisionRecord(now_s, self.active, Reason.RELOAD_FAILED))

    def _renew(self, new: NewPalette, now_s: float) -> None:
        """Serve from a palette that was proven; sessions of the old one drain."""
        self._source = new.source
        for backoff in (self._backoff, self._quarantine, self._rises, self._futile_rescues):
            backoff.forget()
        self._slowdown = Slowdown()
        self.drift.clear()
        serving = new.live or new.floor
        self._heading = _Heading(serving.name, now_s, Reason.RELOADED)
        self.residents.keep_as_floor(new.floor)
        self._go(serving)
        self.decisions.add(DecisionRecord(now_s, serving.name, Reason.RELOADED))

    # Failures.

    def _note_failure(self, subnet: str, error: Exception) -> None:
        now_s = self._clock()
        if self._backoff.failed(subnet, now_s) == 1:
            _log.warning("%s could not be loaded, %s goes on serving: %s", subnet, self.active, error)
        self.decisions.add(DecisionRecord(now_s, subnet, Reason.LOAD_FAILED))
        live = self.residents.live
        if live is not None and self._heading is not None and self._heading.subnet == subnet:
            self._heading = _Heading(live.name, now_s, Reason.KEEP)

    def _put_in_quarantine(self, subnet: LoadedSubnet, why: str) -> None:
        now_s = self._clock()
        if subnet.source is not self._source or not self._quarantine.allows(subnet.name, now_s):
            return  # of a palette that is gone, or complained of by several requests at once
        self._quarantine.failed(subnet.name, now_s)
        _log.warning("%s is left alone for a while: %s", subnet.name, why)
        self.decisions.add(DecisionRecord(now_s, subnet.name, Reason.QUARANTINED))
        if self.residents.floor is subnet:
            self.residents.keep_as_floor(None)

    def _end_quarantine(self, subnet: LoadedSubnet) -> None:
        """Trust a subnet again: no other answered that request either, so that for a while none is loaded for it."""
        if subnet.source is self._source:
            self._quarantine.succeeded(subnet.name)
            self._futile_rescues.failed(subnet.name, self._clock())

    def _begin_rescues(self, readings: Readings, now_s: float) -> None:
        """Leave the subnets alone that failed a waiting request, so that this step turns to another one."""
        for rescue in self._rescues.waiting:
            if not rescue.is_begun and self._may_rescue(rescue, readings, now_s):
                for subnet in rescue.failed:
                    self._put_in_quarantine(subnet, rescue.why)
            rescue.is_begun = True

    def _may_rescue(self, rescue: Rescue, readings: Readings, now_s: float) -> bool:
        """Return whether there is another subnet to load, which fits in the place of those that failed."""
        if not all(self._futile_rescues.allows(name, now_s) for name in rescue.names):
            return False
        every = self._source.candidates(self._size)
        freed_mb = together_mb([c for c in every if c.name in rescue.names])
        room_mb = None if readings.free_mb is None else readings.free_mb + freed_mb
        others = [c for c in every if c.name not in rescue.names and self._allowed(c.name)]
        return any(fits_beside(c, [], room_mb, self._policy) for c in others)

    def _end_rescues(self) -> None:
        """Release the requests for which another subnet is in memory, or none is on its way."""
        is_under_way = self._loader.is_busy or self.residents.draining or self._has_just_run_short()
        for rescue in self._rescues.waiting:
            is_found = self.residents.other_than(*rescue.failed) is not None
            if is_found or (rescue.is_begun and not is_under_way):
                rescue.over.set()
