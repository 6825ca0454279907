"""Follow decisions: load subnets, exchange them, and take over a new palette."""

from __future__ import annotations

from collections.abc import Callable

from edgedistill.printable import get_logger
from edgedistill.runtime.backoff import Backoff
from edgedistill.runtime.control.decide import Decision, Policy, Reason
from edgedistill.runtime.control.execute import Executor
from edgedistill.runtime.control.failures import Failures
from edgedistill.runtime.control.observer import Observer
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
from edgedistill.runtime.reload import NewPalette, Reloader
from edgedistill.runtime.sensors import Readings
from edgedistill.runtime.sessions import LoadedSubnet
from edgedistill.runtime.source import Source

__all__ = ["Swapper"]

_log = get_logger(__name__)

_SOON_S = 5.0  # an upgrade reversed within this time was a mistake
_PROVEN_S = 60.0  # an upgrade that has served this long was not


class Swapper:
    """Move from the active subnet to the one that was decided for. Everything is for the loop's thread.

    Attributes:
        source: the source of subnets.
        target: the subnet that was decided for; None before the first decision.
        upgrades: the back-off of upgrades that were soon reversed.
        reloader: watches for a new palette; None for none.
    """

    def __init__(
        self,
        *,
        source: Source,
        policy: Policy,
        clock: Callable[[], float],
        observer: Observer,
        failures: Failures,
        decisions: Decisions,
        executor: Executor,
        reloader: Reloader | None,
    ) -> None:
        self.source, self.reloader = source, reloader
        self.target: Target | None = None
        self.upgrades = Backoff(first_s=10.0, longest_s=600.0)
        self._policy, self._clock, self._observer = policy, clock, observer
        self._failures, self._decisions, self._executor = failures, decisions, executor
        self._residents, self._loader = executor.residents, executor.loader

    def smallest(self) -> str:
        """Return the subnet that should be the fallback: by the usual size, or it would change with every request."""
        return self.source.fallback(self._observer.usual_size, self._failures.allows)

    def follow(self, decision: Decision, readings: Readings, now_s: float) -> None:
        """Plan from what is in memory, and act, until nothing is left to do in this step."""
        if self.target is None or self.target.subnet != decision.subnet:
            self._turn(Target(decision.subnet, now_s, decision.reason))
        while True:
            action = plan(self._situation(), readings, self._policy, self._clock())
            self._act(action, readings, now_s)
            if not isinstance(action, Exchange | KeepAsFallback):
                return

    def _situation(self) -> Situation:
        """Return what is in memory now, and on its way there."""
        target, residents, swaps_s = self.target, self._residents, self._executor.swaps_s
        assert target is not None
        names, reloader = residents.names, self.reloader
        return Situation(
            target=target,
            live=None if residents.live is None else residents.live.name,
            fallback=None if residents.fallback is None else residents.fallback.name,
            smallest=self.smallest(),
            held=residents.held,
            is_draining=residents.draining,
            loading=self._loader.names,
            may_load=self._loader.is_free,
            is_palette_due=target.subnet in names and reloader is not None and reloader.is_due(self._clock()),
            last_exchange_s=swaps_s[-1] if swaps_s else None,
            figures={c.name: c for c in self.source.costs.candidates(self._observer.size)},
        )

    def _act(self, action: Action, readings: Readings, now_s: float) -> None:
        """Carry out one action."""
        if isinstance(action, LoadFirst):
            self._exchange(self._executor.load_first(action.subnet, self.source))
        elif isinstance(action, Exchange):
            fallback = self._residents.fallback
            assert fallback is not None
            if action.is_bridge:
                self._decisions.add(DecisionRecord(now_s, fallback.name, Reason.BRIDGE, readings))
            self._exchange(fallback)
        else:
            self._executor.execute(action, self.source, self.reloader)

    def _turn(self, target: Target) -> None:
        """Set another target; an upgrade that is soon reversed was a mistake."""
        left = self.target
        is_left = target.reason in URGENT or target.reason is Reason.SENSOR_LIMIT
        if left is not None and left.reason is Reason.BETTER_FITS and is_left:
            served_s = target.since_s - left.since_s
            # Sensors follow the load slowly, so that a limit shows a mistake late.
            if served_s < (_PROVEN_S if target.reason is Reason.SENSOR_LIMIT else _SOON_S):
                self.upgrades.failed(left.subnet, target.since_s)
            elif served_s >= _PROVEN_S:
                self.upgrades.succeeded(left.subnet)
        self.target = target

    def _exchange(self, fresh: LoadedSubnet) -> None:
        """Let this subnet serve from now on."""
        if self._residents.live is fresh:
            return
        target = self.target
        if target is not None and target.subnet == fresh.name:
            self.target = target._replace(since_s=self._clock())
        self._executor.exchange(fresh, None if target is None else target.reason)

    def is_under_way(self) -> bool:
        """Return whether a load may still follow, so that waiting requests should wait on."""
        target, swaps_s = self.target, self._executor.swaps_s
        last_s, now_s = swaps_s[-1] if swaps_s else None, self._clock()
        runs_short = target is not None and has_just_run_short(target, last_s, now_s, self._policy)
        return self._loader.is_busy or self._residents.draining or runs_short

    def finish_load(self) -> None:
        """Put a load that has ended in its place, or record its failure."""
        loaded = self._loader.poll()
        if loaded is None:
            return
        if loaded.name == NEW_PALETTE:
            self._finish_proof(loaded.result, loaded.error)
        elif loaded.error is not None:
            self._note_failure(loaded.name, loaded.error)
        else:
            self._failures.loads.succeeded(loaded.name)
            self._observer.pending.clear()  # requests beside the load
            self._place(loaded.result)

    def _place(self, fresh: LoadedSubnet) -> None:
        """Make a loaded subnet the active one or the fallback, or drop it if it is not needed any more."""
        target, live = self.target, self._residents.live
        is_there = fresh.name in self._residents.names or fresh.source is not self.source
        if not is_there and target is not None and target.subnet == fresh.name and live is not None:
            self._exchange(fresh)
        elif not is_there and fresh.name == self.smallest():
            self._residents.keep_as_fallback(fresh)
        else:
            self._residents.drop(fresh)

    def _note_failure(self, subnet: str, error: Exception) -> None:
        now_s, live = self._clock(), self._residents.live
        if self._failures.loads.failed(subnet, now_s) == 1:
            _log.warning(
                "%s could not be loaded, %s goes on serving: %s", subnet, self._residents.serving().name, error
            )
        self._decisions.add(DecisionRecord(now_s, subnet, Reason.LOAD_FAILED))
        if live is not None and self.target is not None and self.target.subnet == subnet:
            self.target = Target(live.name, now_s, Reason.KEEP)

    def _finish_proof(self, new: NewPalette | None, error: Exception | None) -> None:
        assert self.reloader is not None
        now_s = self._clock()
        if new is not None:
            self.reloader.served(new)
            self._renew(new, now_s)
            return
        assert error is not None
        message = self.reloader.failed(error, now_s)
        if message is None:
            return
        _log.warning("%s", message)
        self._decisions.add(DecisionRecord(now_s, self._residents.serving().name, Reason.RELOAD_FAILED))

    def _renew(self, new: NewPalette, now_s: float) -> None:
        """Serve from a verified palette; sessions of the old one drain."""
        self.source = new.source
        self._failures.forget()
        self.upgrades.forget()
        self._observer.restart()
        serving = new.live or new.fallback
        self.target = Target(serving.name, now_s, Reason.RELOADED)
        self._residents.keep_as_fallback(new.fallback)
        self._exchange(serving)
        self._decisions.add(DecisionRecord(now_s, serving.name, Reason.RELOADED))
