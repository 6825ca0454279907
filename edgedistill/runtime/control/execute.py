"""Carry out what was planned: load, exchange, keep, drop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from edgedistill.printable import get_logger
from edgedistill.runtime.control.decide import Reason
from edgedistill.runtime.control.plan import NEW_PALETTE, Action, DropFallback, KeepAsFallback, Load, Prove
from edgedistill.runtime.loading import Loader
from edgedistill.runtime.reload import Reloader
from edgedistill.runtime.residents import Residents
from edgedistill.runtime.sessions import LoadedSubnet
from edgedistill.runtime.source import Source
from edgedistill.runtime.stopping import Spawn, Worker, apart

__all__ = ["LOAD_LIMIT_S", "Executor"]

_log = get_logger(__name__)

LOAD_LIMIT_S = 60.0
_FIRST_LOAD_LIMIT_S = 300.0  # of a device that has just started, too; until then nothing is served
_PROOF_LIMIT_S = 900.0  # it reads every byte, of a slow card too
_REMEMBERED_SWAPS = 1000


class Executor:
    """Applies actions to the subnets in memory. Everything but its attributes is for one thread.

    Attributes:
        residents: the subnets in memory.
        loader: runs loads.
        swaps: how often the live subnet was exchanged.
        swaps_s: when the last exchanges were.
        exchanged_for: why the live subnet was exchanged last.
    """

    def __init__(self, clock: Callable[[], float], wake: Callable[[], None], spawn: Spawn = Worker) -> None:
        self._clock, self._wake = clock, wake
        self.residents = Residents()
        self.loader = Loader(clock, wake, spawn)
        self.swaps = 0
        self.swaps_s: deque[float] = deque(maxlen=_REMEMBERED_SWAPS)
        self.exchanged_for = Reason.FIRST

    def load_first(self, subnet: str, source: Source) -> LoadedSubnet:
        """Return the first subnet, once it is loaded.

        Raises:
            LoadError: it cannot be loaded.
        """
        place = "" if source.palette is None else f" of {source.palette.folder}"
        advice = "; 'edgedistill verify' tries each subnet of the palette by itself"
        name = f"loading {subnet}{place}"
        return apart(lambda: source.load(subnet, self._wake), _FIRST_LOAD_LIMIT_S, name=name, advice=advice)

    def execute(self, action: Action, source: Source, reloader: Reloader | None) -> None:
        """Carry out an action that exchanges nothing."""
        if isinstance(action, KeepAsFallback):
            self.residents.keep_as_fallback(self.residents.live)
        elif isinstance(action, DropFallback):
            self.residents.keep_as_fallback(None)
        elif isinstance(action, Load):
            self.loader.start(action.subnet, lambda: source.load(action.subnet, self._wake), LOAD_LIMIT_S)
        elif isinstance(action, Prove):
            assert reloader is not None
            self.loader.start(NEW_PALETTE, lambda: reloader.prove(action.subnet, self._wake), _PROOF_LIMIT_S)

    def exchange(self, fresh: LoadedSubnet, reason: Reason | None) -> None:
        """Let this subnet serve from now on."""
        old = self.residents.live
        if reason is not None:
            self.exchanged_for = reason  # before the exchange can be seen
        self.residents.exchange(fresh)
        if old is not None:
            self.swaps += 1
            self.swaps_s.append(self._clock())
            _log.info("%s serves instead of %s", fresh.name, old.name)
            self.residents.close_drained()
