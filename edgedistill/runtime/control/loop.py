"""The loop that owns the state: read the machine, decide, plan, execute, drain.

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

from edgedistill.printable import get_logger
from edgedistill.runtime.backoff import Backoff
from edgedistill.runtime.control.decide import Decision, Policy, Reason, State, decide, fits_beside
from edgedistill.runtime.control.execute import LOAD_LIMIT_S, Executor
from edgedistill.runtime.control.plan import (
    NEW_PALETTE,
    URGENT,
    Action,
    Exchange,
    KeepAsFallback,
    LoadFirst,
    Situation,
    Target,
    has_just_run_short,
    plan,
)
from edgedistill.runtime.decisions import DecisionRecord, Decisions
from edgedistill.runtime.forks import AFTER_FORK, leak
from edgedistill.runtime.limits import UnreadLimits
from edgedistill.runtime.observations import Observations
from edgedistill.runtime.predict.candidates import Candidate, predicted_p95_ms, together_mb
from edgedistill.runtime.predict.drift import Drift
from edgedistill.runtime.predict.heat import HeatTrend
from edgedistill.runtime.predict.slowdown import Size, Slowdown
from edgedistill.runtime.reload import NewPalette, Reloader
from edgedistill.runtime.rescue import Rescue, Rescues
from edgedistill.runtime.sensors import Readings, Sensors
from edgedistill.runtime.sessions import Lease, LoadedSubnet
from edgedistill.runtime.source import Source
from edgedistill.runtime.stopping import Spawn, Worker

__all__ = ["CLOSING_S", "Controller"]

_log = get_logger(__name__)

_COMPLAINTS = 64
CLOSING_S = 30.0  # what requests have to end in before they are stopped
_STOPPED_LOAD_S = 1.0  # what a load has to end in once it is stopped
_SOON_S = 5.0  # an upgrade that is taken back so soon was a mistake
_PROVEN_S = 60.0  # one that has served for so long was none
_LOGGED_EVERY_S = 600.0  # what fails at every step must not fill the log
_WAITING = {Reason.KEEP, Reason.DWELL, Reason.SWAP_LIMIT}


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
        self._upgrades = Backoff(first_s=10.0, longest_s=600.0)
        self._wake = threading.Event()
        self._executor = Executor(clock, self._wake.set, spawn)
        self.residents, self._loader = self._executor.residents, self._executor.loader
        self._target: Target | None = None
        self._pending = Observations(policy.max_latency_ms, self._wake.set)
        self.observe = self._pending.add
        self._complaints: deque[tuple[LoadedSubnet, str]] = deque(maxlen=_COMPLAINTS)
        self._rescues = Rescues()
        self._pardons: deque[LoadedSubnet] = deque(maxlen=_COMPLAINTS)
        self._futile_rescues = Backoff(first_s=10.0, longest_s=600.0)
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
        rescue.over.wait(LOAD_LIMIT_S)
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
    def fallback(self) -> LoadedSubnet | None:
        """The fallback subnet, where it is in memory to take over at once."""
        return self.residents.fallback

    @property
    def resident(self) -> tuple[str, ...]:
        """Return the names of the subnets in memory, the live one first."""
        live, names = self.residents.live, self.residents.names
        return tuple(sorted(names, key=lambda name: (live is None or name != live.name, name)))

    @property
    def exchanged_for(self) -> Reason:
        """Why the live subnet was exchanged last."""
        return self._executor.exchanged_for

    @property
    def source(self) -> Source:
        """Where subnets come from now."""
        return self._source

    @property
    def swaps(self) -> int:
        """How often the live subnet was exchanged."""
        return self._executor.swaps

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
        leak(self, self.residents.live, self.residents.fallback)
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

    def _smallest(self) -> str:
        """Return the subnet that should be the fallback: by the usual size, or it would change with every request."""
        return self._source.fallback(self._usual_size, self._allowed)

    def _decide(self, readings: Readings, now_s: float) -> Decision:
        heat = self._heat.add(now_s, readings)
        pinned = self._decide_pinned()
        if pinned is not None:
            return pinned
        live, at, candidates = self.residents.live, self._target, self._candidates()
        names = frozenset(c.name for c in candidates)
        state = State(
            active=at.subnet if at is not None and at.subnet in names else None,
            since_s=at.since_s if at else 0.0,
            slowdown=self._slowdown.estimate(now_s),
            resident=self.residents.names,
            swaps_s=tuple(self._executor.swaps_s),
            fallback=self._smallest(),
            unproven=frozenset(name for name in names if not self._upgrades.allows(name, now_s)),
            hot=heat.hot,
            warm=heat.warm,
        )
        decision = decide(candidates, readings, state, self._policy, now_s)
        if live is not None and state.active is None:
            return replace(decision, reason=Reason.QUARANTINED)
        return decision

    def _decide_pinned(self) -> Decision | None:
        """What a pin asks for; None without one."""
        pinned, live, fallback = self._pinned, self.residents.live, self.residents.fallback
        if pinned is None or self._is_pinned_in_vain(pinned):
            return None
        if live is None or self._allowed(pinned):
            return Decision(pinned, Reason.PINNED)
        if self._quarantine.allows(pinned, self._clock()):
            return Decision(live.name, Reason.KEEP)  # it cannot be loaded yet
        return Decision((fallback or live).name, Reason.QUARANTINED)

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
        """Plan from what is in memory, and act, until nothing is left to do in this step."""
        if self._target is None or self._target.subnet != decision.subnet:
            self._turn(Target(decision.subnet, now_s, decision.reason))
        while True:
            action = plan(self._situation(), readings, self._policy, self._clock())
            self._act(action, readings, now_s)
            if not isinstance(action, Exchange | KeepAsFallback):
                return

    def _situation(self) -> Situation:
        """Return what is in memory now, and on its way there."""
        target, residents, swaps_s = self._target, self.residents, self._executor.swaps_s
        assert target is not None
        names, reloader = residents.names, self._reloader
        return Situation(
            target=target,
            live=None if residents.live is None else residents.live.name,
            fallback=None if residents.fallback is None else residents.fallback.name,
            smallest=self._smallest(),
            held=residents.held,
            is_draining=residents.draining,
            loading=self._loader.names,
            may_load=self._loader.is_free,
            is_palette_due=target.subnet in names and reloader is not None and reloader.is_due(self._clock()),
            last_exchange_s=swaps_s[-1] if swaps_s else None,
            figures={c.name: c for c in self._source.costs.candidates(self._size)},
        )

    def _act(self, action: Action, readings: Readings, now_s: float) -> None:
        """Carry out one action."""
        if isinstance(action, LoadFirst):
            self._exchange(self._executor.load_first(action.subnet, self._source))
        elif isinstance(action, Exchange):
            fallback = self.residents.fallback
            assert fallback is not None
            if action.is_bridge:
                self.decisions.add(DecisionRecord(now_s, fallback.name, Reason.BRIDGE, readings))
            self._exchange(fallback)
        else:
            self._executor.execute(action, self._source, self._reloader)

    def _turn(self, target: Target) -> None:
        """Set another target; an upgrade that is taken back soon was a mistake."""
        left = self._target
        is_left = target.reason in URGENT or target.reason is Reason.SENSOR_LIMIT
        if left is not None and left.reason is Reason.BETTER_FITS and is_left:
            served_s = target.since_s - left.since_s
            # Sensors follow the load slowly, so that a limit shows a mistake late.
            if served_s < (_PROVEN_S if target.reason is Reason.SENSOR_LIMIT else _SOON_S):
                self._upgrades.failed(left.subnet, target.since_s)
            elif served_s >= _PROVEN_S:
                self._upgrades.succeeded(left.subnet)
        self._target = target

    def _exchange(self, fresh: LoadedSubnet) -> None:
        """Let this subnet serve from now on."""
        if self.residents.live is fresh:
            return
        target = self._target
        if target is not None and target.subnet == fresh.name:
            self._target = target._replace(since_s=self._clock())
        self._executor.exchange(fresh, None if target is None else target.reason)

    # Loads and exchanges.

    def _finish_load(self) -> None:
        found = self._loader.poll()
        if found is None:
            return
        if found.name == NEW_PALETTE:
            self._finish_proof(found.result, found.error)
        elif found.error is not None:
            self._note_failure(found.name, found.error)
        else:
            self._backoff.succeeded(found.name)
            self._pending.clear()  # requests beside the load
            self._place(found.result)

    def _place(self, fresh: LoadedSubnet) -> None:
        """Where it is wanted: to serve, to stand by, or nowhere any more."""
        target, live = self._target, self.residents.live
        is_there = fresh.name in self.residents.names or fresh.source is not self._source
        if not is_there and target is not None and target.subnet == fresh.name and live is not None:
            self._exchange(fresh)
        elif not is_there and fresh.name == self._smallest():
            self.residents.keep_as_fallback(fresh)
        else:
            self.residents.drop(fresh)

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
        for backoff in (self._backoff, self._quarantine, self._upgrades, self._futile_rescues):
            backoff.forget()
        self._slowdown = Slowdown()
        self.drift.clear()
        serving = new.live or new.fallback
        self._target = Target(serving.name, now_s, Reason.RELOADED)
        self.residents.keep_as_fallback(new.fallback)
        self._exchange(serving)
        self.decisions.add(DecisionRecord(now_s, serving.name, Reason.RELOADED))

    # Failures.

    def _note_failure(self, subnet: str, error: Exception) -> None:
        now_s = self._clock()
        if self._backoff.failed(subnet, now_s) == 1:
            _log.warning("%s could not be loaded, %s goes on serving: %s", subnet, self.active, error)
        self.decisions.add(DecisionRecord(now_s, subnet, Reason.LOAD_FAILED))
        live = self.residents.live
        if live is not None and self._target is not None and self._target.subnet == subnet:
            self._target = Target(live.name, now_s, Reason.KEEP)

    def _put_in_quarantine(self, subnet: LoadedSubnet, why: str) -> None:
        now_s = self._clock()
        if subnet.source is not self._source or not self._quarantine.allows(subnet.name, now_s):
            return  # of a palette that is gone, or complained of by several requests at once
        self._quarantine.failed(subnet.name, now_s)
        _log.warning("%s is left alone for a while: %s", subnet.name, why)
        self.decisions.add(DecisionRecord(now_s, subnet.name, Reason.QUARANTINED))
        if self.residents.fallback is subnet:
            self.residents.keep_as_fallback(None)

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
        target, swaps_s = self._target, self._executor.swaps_s
        last_s, now_s = swaps_s[-1] if swaps_s else None, self._clock()
        runs_short = target is not None and has_just_run_short(target, last_s, now_s, self._policy)
        is_under_way = self._loader.is_busy or self.residents.draining or runs_short
        for rescue in self._rescues.waiting:
            is_found = self.residents.other_than(*rescue.failed) is not None
            if is_found or (rescue.is_begun and not is_under_way):
                rescue.over.set()
