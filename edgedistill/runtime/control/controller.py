"""The loop that owns the state: read the machine, decide, plan, execute, drain.

Requests only lease the active subnet and report how they fared. Everything else happens in `Controller.step`, which
one background thread repeats. Loads have a thread of their own, so that one that hangs delays no decision. A test calls
`step` itself, with a clock of its own and no thread.

The smallest subnet stays in memory next to the active one, as the fallback. It takes over at once when the active one
no longer fits, until the target is loaded. It serves while there is too little memory for two, and it answers a request
that the active one failed at.

The loop's parts: `observer` follows machine and requests, `failures` the subnets that failed, `chooser` decides, and
`swapper` loads and exchanges.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from edgedistill.runtime.control.background import BackgroundLoop
from edgedistill.runtime.control.chooser import Chooser
from edgedistill.runtime.control.decide import Policy, Reason
from edgedistill.runtime.control.execute import Executor
from edgedistill.runtime.control.failures import Failures
from edgedistill.runtime.control.observer import Observer, RateLimitedLog
from edgedistill.runtime.control.swapper import Swapper
from edgedistill.runtime.decisions import DecisionRecord, Decisions
from edgedistill.runtime.predict.drift import Drift
from edgedistill.runtime.predict.slowdown import Size
from edgedistill.runtime.reload import Reloader
from edgedistill.runtime.sensors import Sensors
from edgedistill.runtime.sessions import Lease, LoadedSubnet
from edgedistill.runtime.source import Source
from edgedistill.runtime.stopping import Spawn, Worker

__all__ = ["Controller"]


class Controller(BackgroundLoop):
    """Keep the right one of a palette's subnets active.

    ``size`` is assumed until there are requests; ``spawn`` runs loads; ``reloader`` watches for a new palette.
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
        self._policy, self._clock = policy, clock
        wake, log = threading.Event(), RateLimitedLog(clock)
        self.decisions = Decisions(listener)
        self._executor = executor = Executor(clock, wake.set, spawn)
        super().__init__(executor.residents, executor.loader, wake, log)
        self._observer = observer = Observer(sensors, policy, clock, size, wake.set, log)
        self.observe = observer.pending.add
        self._failures = failures = Failures(clock, wake.set, self.residents, self.decisions)
        self._swapper = Swapper(
            source=source,
            policy=policy,
            clock=clock,
            observer=observer,
            failures=failures,
            decisions=self.decisions,
            executor=executor,
            reloader=reloader,
        )
        self._chooser = Chooser(
            policy=policy, clock=clock, observer=observer, failures=failures, swapper=self._swapper, executor=executor
        )

    # For the requests, from any thread.

    def lease(self) -> Lease:
        """Lease the active subnet.

        Raises:
            SessionClosed: after `close`.
        """
        return self.residents.lease()

    def lease_for(self, deadline_ms: float, size: Size) -> Lease:
        """Lease the subnet that `in_time` chooses.

        Raises:
            SessionClosed: after `close`.
        """
        return self.residents.lease(lambda: self.in_time(deadline_ms, size))

    def in_time(self, deadline_ms: float, size: Size) -> LoadedSubnet:
        """Return the active subnet, or the fallback if the active one is not expected to finish in time.

        Raises:
            SessionClosed: after `close`.
        """
        live = self.residents.serving()
        if self._observer.predicted_ms(live, size) > deadline_ms:
            return self.residents.other_than(live) or live
        return live

    def other_than(self, failed: Sequence[LoadedSubnet], why: str, *, may_load: bool) -> LoadedSubnet | None:
        """Return another subnet for a request that these failed; None without one.

        ``may_load``: wait for one to be loaded if no other is in memory. Then call `pardon` if that fails as well.
        """
        other = self.residents.other_than(*failed)
        if other is not None or not may_load or self._thread in (None, threading.current_thread()):
            return other
        self._failures.wait_for_other(failed, why)
        return self.residents.other_than(*failed)

    def complain(self, subnet: LoadedSubnet, why: str) -> None:
        """Report that a subnet failed at a request that another could answer."""
        self._failures.complain(subnet, why)

    def pardon(self, failed: Sequence[LoadedSubnet]) -> None:
        """Report that no subnet could answer a request, so that it does not count against these."""
        self._failures.pardon(failed)

    # For the owner, from any thread.

    @property
    def live(self) -> LoadedSubnet:
        """Return the active subnet; lease it to run it.

        Raises:
            SessionClosed: after `close`.
        """
        return self.residents.serving()

    @property
    def active(self) -> str:
        """Return the name of the active subnet.

        Raises:
            SessionClosed: after `close`.
        """
        return self.live.name

    @property
    def fallback(self) -> LoadedSubnet | None:
        """Return the fallback subnet; None if it is not in memory."""
        return self.residents.fallback

    @property
    def resident(self) -> tuple[str, ...]:
        """Return the names of the subnets in memory, the active one first."""
        live, names = self.residents.live, self.residents.names
        return tuple(sorted(names, key=lambda name: (live is None or name != live.name, name)))

    @property
    def exchanged_for(self) -> Reason:
        """Return the reason of the latest exchange of the active subnet."""
        return self._executor.exchanged_for

    @property
    def source(self) -> Source:
        """Return the present source of subnets."""
        return self._swapper.source

    @property
    def swaps(self) -> int:
        """Return how often the active subnet was exchanged."""
        return self._executor.swaps

    @property
    def drift(self) -> Drift:
        """Return the drift of latencies from the profile."""
        return self._observer.drift

    @property
    def pinned(self) -> str | None:
        """Return the name of the pinned subnet."""
        return self._chooser.pinned

    def pin(self, subnet: str | None) -> None:
        """Serve this subnet from the next step on, regardless of the machine's state; None ends that."""
        self._chooser.pin(subnet)
        self._wake.set()

    # The loop's own.

    def release_waiting(self) -> None:
        """Release the requests that wait for another subnet."""
        self._failures.close()

    def step(self) -> None:
        """Read the machine, decide, and swap if need be.

        Raises:
            LoadError: the very first subnet could not be loaded.
        """
        observer, failures, swapper = self._observer, self._failures, self._swapper
        self.residents.close_drained()
        is_beside_a_load = self._loader.is_busy  # those requests show nothing about later ones
        swapper.finish_load()
        now_s, readings = self._clock(), observer.read()
        observer.slowdown.look(now_s, readings.other_load)
        observer.take_in(swapper.source, readings, is_beside_a_load=is_beside_a_load)
        failures.take_in(swapper.source)
        failures.begin_rescues(swapper.source, observer.size, readings, self._policy, now_s)
        decision = self._chooser.choose(readings, now_s)
        self._chooser.record(decision, readings, now_s, self.decisions)
        swapper.follow(decision, readings, now_s)
        swapper.finish_load()  # if it ran at once
        failures.end_rescues(is_under_way=swapper.is_under_way())
