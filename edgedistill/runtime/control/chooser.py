"""Choose the subnet that should serve, by a decision or by a pin."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from edgedistill.printable import get_logger
from edgedistill.runtime.control.decide import Decision, Policy, Reason, State, decide
from edgedistill.runtime.control.execute import Executor
from edgedistill.runtime.control.failures import Failures
from edgedistill.runtime.control.observer import Observer
from edgedistill.runtime.control.swapper import Swapper
from edgedistill.runtime.decisions import DecisionRecord, Decisions
from edgedistill.runtime.predict.candidates import Candidate
from edgedistill.runtime.sensors import Readings

__all__ = ["Chooser"]

_log = get_logger(__name__)

_WAITING = {Reason.KEEP, Reason.DWELL, Reason.SWAP_LIMIT}


class Chooser:
    """Collect what a decision depends on, and decide. Any thread may `pin`; the loop's thread does everything else."""

    def __init__(
        self,
        *,
        policy: Policy,
        clock: Callable[[], float],
        observer: Observer,
        failures: Failures,
        swapper: Swapper,
        executor: Executor,
    ) -> None:
        self._policy, self._clock, self._observer = policy, clock, observer
        self._failures, self._swapper, self._executor = failures, swapper, executor
        self._residents = executor.residents
        self.pinned: str | None = None
        self._pin_lock = threading.Lock()

    def pin(self, subnet: str | None) -> None:
        """Choose this subnet regardless of the machine's state; None ends that."""
        with self._pin_lock:
            self.pinned = subnet

    def choose(self, readings: Readings, now_s: float) -> Decision:
        """Return the subnet that should serve from now on."""
        heat = self._observer.heat.add(now_s, readings)
        pinned = self._choose_pinned()
        if pinned is not None:
            return pinned
        live, at, candidates = self._residents.live, self._swapper.target, self._candidates()
        names = frozenset(c.name for c in candidates)
        state = State(
            active=at.subnet if at is not None and at.subnet in names else None,
            since_s=at.since_s if at else 0.0,
            slowdown=self._observer.slowdown.estimate(now_s),
            resident=self._residents.names,
            swaps_s=tuple(self._executor.swaps_s),
            fallback=self._swapper.smallest(),
            unproven=frozenset(name for name in names if not self._swapper.upgrades.allows(name, now_s)),
            hot=heat.hot,
            warm=heat.warm,
        )
        decision = decide(candidates, readings, state, self._policy, now_s)
        if live is not None and state.active is None:
            return replace(decision, reason=Reason.QUARANTINED)
        return decision

    def _candidates(self) -> list[Candidate]:
        """Return the subnets that may serve; all of them if all have failed recently."""
        every = self._swapper.source.candidates(self._observer.size)
        return [c for c in every if self._failures.allows(c.name)] or every

    def _choose_pinned(self) -> Decision | None:
        """Return the decision that a pin calls for; None without a pin."""
        pinned, live, fallback = self.pinned, self._residents.live, self._residents.fallback
        if pinned is None or self._drop_futile_pin(pinned):
            return None
        if live is None or self._failures.allows(pinned):
            return Decision(pinned, Reason.PINNED)
        if self._failures.quarantine.allows(pinned, self._clock()):
            return Decision(live.name, Reason.KEEP)  # it cannot be loaded yet
        return Decision((fallback or live).name, Reason.QUARANTINED)

    def _drop_futile_pin(self, pinned: str) -> bool:
        """Drop a pin whose subnet is missing from the current palette; return whether it was."""
        if any(c.name == pinned for c in self._swapper.source.candidates(self._observer.size)):
            return False
        with self._pin_lock:
            if self.pinned == pinned:  # and no other since
                self.pinned = None
        _log.warning("the new palette lacks %s, which was pinned; the pin has ended", pinned)
        return True

    def record(self, decision: Decision, readings: Readings, now_s: float, decisions: Decisions) -> None:
        """Add the decision to the list of decisions."""
        live = self._residents.live
        is_loading = live is not None and live.name != decision.subnet and decision.reason in _WAITING
        reason = Reason.LOADING if is_loading else decision.reason
        slowdown = self._observer.slowdown.estimate(now_s)
        decisions.add(
            DecisionRecord(now_s, decision.subnet, reason, readings, slowdown, decision.expected, decision.limits)
        )
