"""What holds a palette open and keeps the right one of its subnets live, whatever is asked of them."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from edgedistill.errors import InputError, SessionClosed
from edgedistill.palette import DeviceProfile, Manifest, Palette, write_profile
from edgedistill.runtime import forks
from edgedistill.runtime.arguments import is_integer, is_real
from edgedistill.runtime.control.decide import Policy
from edgedistill.runtime.control.loop import Controller
from edgedistill.runtime.decisions import DecisionRecord
from edgedistill.runtime.limits import check_sensors_of
from edgedistill.runtime.onnx import OnnxSession, create_session, is_decoder, usable_cores
from edgedistill.runtime.predict.costs import Costs
from edgedistill.runtime.predict.drift import Drifted, corrected
from edgedistill.runtime.predict.slowdown import Size
from edgedistill.runtime.profiles import choose_profile
from edgedistill.runtime.reload import Reloader
from edgedistill.runtime.sensors import Sensors, SystemSensors
from edgedistill.runtime.snapshot import private_copy
from edgedistill.runtime.source import Source

__all__ = ["CostsOf", "Serving"]

CostsOf = Callable[[Manifest, DeviceProfile | None, int], Costs]
"""What a palette's subnets are expected to cost, by its profile, or without one, with so many threads."""

_Self = TypeVar("_Self", bound="Serving")


class Serving:
    """Serves from a palette until it is closed; the base of what applications hold.

    Args:
        palette: read already; every file's SHA-256 is checked.
        policy: the budgets, and what to prefer within them.
        size: of requests, until they tell theirs.
        costs_of: what the subnets are expected to cost.
        warm_up: a short request to a session that was just made; raises LoadError where it fails.
        threads, interval_s, profile, only, on_decision, sensors, create, clock: as `AdaptiveSession` tells.

    Raises:
        PaletteError, InputError, OnnxruntimeMissing, LoadError: as `AdaptiveSession` tells.
    """

    def __init__(
        self,
        palette: Palette,
        *,
        policy: Policy,
        size: Size,
        costs_of: CostsOf,
        warm_up: Callable[[OnnxSession], None],
        threads: int | None = None,
        interval_s: float = 0.25,
        profile: str | None = None,
        only: Collection[str] | None = None,
        on_decision: Callable[[DecisionRecord], None] | None = None,
        sensors: Sensors | None = None,
        create: Callable[[str], OnnxSession] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if not (is_real(interval_s) and 0 < interval_s < threading.TIMEOUT_MAX):
            raise InputError(f"interval_s is {interval_s!r}; expected a positive number of seconds")
        if threads is not None and not (is_integer(threads) and threads >= 1):
            raise InputError(f"threads is {threads!r}; expected a whole number, at least 1")
        check_sensors_of(policy.limits, sensors)
        if create is None:
            palette = private_copy(palette)
        else:  # its maker knows where the files are
            palette.check_hashes()

        def source_of(of: Palette) -> Source:
            costs = costs_of(of.manifest, choose_profile(of, profile), threads or usable_cores())
            return Source(costs, create or _creator(of, threads, warm_up), _known(of, only), of)

        def controller_of(of: Palette) -> Controller:
            return Controller(
                source=source_of(of),
                sensors=sensors or SystemSensors(),
                policy=policy,
                clock=clock,
                size=size,
                listener=on_decision,
                reloader=None if create else Reloader(of, source_of, size),
            )

        self._clock, self._profile, self._interval_s = clock, profile, interval_s
        self._controller_of = controller_of
        self._is_lost = self._is_closed = False
        self._rearming = threading.Lock()
        self._start(palette, None)
        forks.tell(self)

    def _start(self, palette: Palette, pinned: str | None) -> None:
        """Load the first subnet, and begin to decide."""
        controller = self._controller_of(palette)
        controller.pin(pinned)
        controller.step()
        controller.start(self._interval_s)
        self._armed = controller
        # When it is forgotten; nothing may be waited for inside a garbage collection.
        self._forgotten = weakref.finalize(self, controller.stop)
        self._forgotten.atexit = False

    @property
    def _controller(self) -> Controller:
        """Return what decides, made again in a process that was forked.

        Raises:
            SessionClosed, LoadError: it cannot be.
        """
        if self._is_lost:
            self._rearm()
        return self._armed

    def _rearm(self) -> None:
        with self._rearming:
            if not self._is_lost:
                return  # another thread did
            if self._is_closed:
                raise SessionClosed("this session was closed; open the palette again")
            forks.check_may_load()
            lost = self._armed
            assert lost.source.palette is not None
            self._start(lost.source.palette, lost.pinned)
            self._is_lost = False

    def after_fork(self) -> None:
        """Leave the parent's sessions alone, in a process that was forked; new ones are made at the first call."""
        self._rearming = threading.Lock()
        if self._is_lost or self._armed.is_closed:
            return
        self._forgotten.detach()
        self._is_lost = True
        self._armed.abandon()

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Refuse to be pickled or copied.

        Raises:
            InputError: always.
        """
        raise InputError(
            f"a {type(self).__name__} cannot be pickled, as its sessions belong to one process; give other processes "
            "the palette's path, and let each of them open it"
        )

    @property
    def palette(self) -> Palette:
        """The palette that it serves from; another one after one was put in its place."""
        palette = self._controller.source.palette
        assert palette is not None
        return palette

    @property
    def subnets(self) -> tuple[str, ...]:
        """Those that may serve."""
        return tuple(entry.name for entry in self.palette.manifest.subnets if self._may_serve(entry.name))

    def _may_serve(self, subnet: str) -> bool:
        only = self._controller.source.only
        return only is None or subnet in only

    @property
    def active(self) -> str:
        """The subnet that answers now."""
        return self._controller.active

    @property
    def resident(self) -> tuple[str, ...]:
        """Return the names of the subnets in memory, the active one first; none once the session is closed."""
        return self._controller.resident

    @property
    def fallback(self) -> str | None:
        """Return the name of the fallback subnet; None until it is in memory, and once the session is closed."""
        fallback = self._controller.fallback
        return None if fallback is None else fallback.name

    @property
    def decisions(self) -> tuple[DecisionRecord, ...]:
        """The last decisions, newest last; one that repeats the one before it is not listed again."""
        return self._controller.decisions.listed

    def explain(self) -> str:
        """In words: what serves, the last decision and why, and what was expected of each subnet."""
        return f"{self.active} answers\n{self._controller.decisions.latest}"

    @property
    def swaps(self) -> int:
        """How often the subnet was exchanged."""
        return self._controller.swaps

    @property
    def drift(self) -> Mapping[str, Drifted]:
        """By subnet, how latencies on the quiet machine compare with the profile; of those with 30 requests or more."""
        return self._controller.drift.found

    def write_corrected_profile(self) -> Path:
        """Put a profile with the latencies that were observed beside the palette's, as ``<device>-corrected``.

        It is used where it is named: ``AdaptiveSession(palette, profile="<device>-corrected")``.

        Raises:
            InputError: there is no profile to correct, or there were too few requests on the quiet machine.
        """
        palette, drift = self.palette, self.drift
        profile = choose_profile(palette, self._profile)
        if profile is None:
            raise InputError(f"no profile of {palette.folder} is used here, so there is none to correct")
        if not drift:
            raise InputError("no subnet has answered enough requests on the quiet machine to correct the profile by")
        return write_profile(palette, corrected(profile, drift), folder=palette.profiles_folder)

    def pin(self, subnet: str | None) -> None:
        """Serve this subnet, once it is loaded in the background, whatever the machine says; None ends that.

        Raises:
            PaletteError: the palette has no such subnet.
            InputError: it is none of those that may serve.
        """
        if subnet is not None:
            self.palette.manifest.subnet(subnet)
            if not self._may_serve(subnet):
                raise InputError(f"{subnet} may not serve here; only {', '.join(self.subnets)} may")
        self._controller.pin(subnet)

    def close(self) -> None:
        """Let the requests under way end, then drop the sessions. Further calls raise SessionClosed.

        Within a request (in a signal handler, say) or in ``on_decision`` it returns at once, and that happens later.
        """
        self._is_closed = True
        if not self._is_lost:
            self._armed.close()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _known(palette: Palette, only: Collection[str] | None) -> frozenset[str] | None:
    """The subnets that may serve; every one must be there."""
    if only is None:
        return None
    if not only:
        raise InputError("only names no subnet; expected at least one, or None for all")
    return frozenset(palette.manifest.subnet(name).name for name in only)


def _creator(
    palette: Palette, threads: int | None, warm_up: Callable[[OnnxSession], None]
) -> Callable[[str], OnnxSession]:
    decoder = is_decoder(palette.manifest.graph_inputs)

    def create(subnet: str) -> OnnxSession:
        cores = usable_cores() if threads is None else threads
        weights = {palette.manifest.subnet(subnet).weights}
        session = create_session(palette.graph_path(subnet), cores, decoder=decoder, weights=weights)
        warm_up(session)
        return session

    return create
