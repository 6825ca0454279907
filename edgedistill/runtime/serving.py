"""Hold a palette open, and keep the right one of its subnets active."""

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
from edgedistill.runtime.control.controller import Controller
from edgedistill.runtime.control.decide import Policy
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
"""Return the expected costs of a palette's subnets, by its profile or without one, with N threads."""

_Self = TypeVar("_Self", bound="Serving")


class Serving:
    """Serve a palette until closed; the base class of `AdaptiveSession` and `TextGenerator`.

    Args:
        palette: the palette; every file's SHA-256 is checked.
        policy: the budgets, and the preference within them.
        size: the assumed size of requests before the first.
        costs_of: returns the expected costs of subnets.
        warm_up: runs a short request on a new session; raises LoadError if it fails.
        threads, interval_s, profile, only, on_decision, sensors, create, clock: see `AdaptiveSession`.

    Raises:
        PaletteError, InputError, OnnxruntimeMissing, LoadError: see `AdaptiveSession`.
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

        def source_of(opened: Palette) -> Source:
            costs = costs_of(opened.manifest, choose_profile(opened, profile), threads or usable_cores())
            return Source(costs, create or _creator(opened, threads, warm_up), _selected(opened, only), opened)

        def controller_of(opened: Palette) -> Controller:
            return Controller(
                source=source_of(opened),
                sensors=sensors or SystemSensors(),
                policy=policy,
                clock=clock,
                size=size,
                listener=on_decision,
                reloader=None if create else Reloader(opened, source_of, size),
            )

        self._clock, self._profile, self._interval_s = clock, profile, interval_s
        self._controller_of = controller_of
        self._is_lost = self._is_closed = False
        self._rearming = threading.Lock()
        self._start(palette, None)
        forks.notify_after_fork(self)

    def _start(self, palette: Palette, pinned: str | None) -> None:
        """Load the first subnet, and begin to decide."""
        controller = self._controller_of(palette)
        controller.pin(pinned)
        controller.step()
        controller.start(self._interval_s)
        self._armed = controller
        # When it is forgotten; a garbage collection must not wait for anything.
        self._forgotten = weakref.finalize(self, controller.stop)
        self._forgotten.atexit = False

    @property
    def _controller(self) -> Controller:
        """Return the controller, a new one in a forked process.

        Raises:
            SessionClosed, LoadError: there is none, or it cannot be created.
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
        """Leave the parent's sessions alone in a forked process; the first call creates new ones."""
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
        """Return the served palette, which a replacement changes."""
        palette = self._controller.source.palette
        assert palette is not None
        return palette

    @property
    def subnets(self) -> tuple[str, ...]:
        """Return the names of the subnets that may serve."""
        return tuple(entry.name for entry in self.palette.manifest.subnets if self._may_serve(entry.name))

    def _may_serve(self, subnet: str) -> bool:
        only = self._controller.source.only
        return only is None or subnet in only

    @property
    def active(self) -> str:
        """Return the name of the active subnet."""
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
        """Return the latest decisions, newest last, without repetitions."""
        return self._controller.decisions.listed

    def explain(self) -> str:
        """Describe the active subnet, the latest decision with its reason, and the forecast of each subnet."""
        return f"{self.active} answers\n{self._controller.decisions.latest}"

    @property
    def swaps(self) -> int:
        """Return how often the active subnet was exchanged."""
        return self._controller.swaps

    @property
    def drift(self) -> Mapping[str, Drifted]:
        """Return the drift of latencies from the profile, by subnet with at least 30 requests on a quiet machine."""
        return self._controller.drift.by_subnet

    def write_corrected_profile(self) -> Path:
        """Write a profile with the observed latencies next to the palette's, as ``<device>-corrected``.

        It is only used by name: ``AdaptiveSession(palette, profile="<device>-corrected")``.

        Raises:
            InputError: no profile is in use, or there were too few requests on the quiet machine.
        """
        palette, drift = self.palette, self.drift
        profile = choose_profile(palette, self._profile)
        if profile is None:
            raise InputError(f"no profile of {palette.folder} is used here, so there is none to correct")
        if not drift:
            raise InputError("no subnet has answered enough requests on the quiet machine to correct the profile by")
        return write_profile(palette, corrected(profile, drift), folder=palette.profiles_folder)

    def pin(self, subnet: str | None) -> None:
        """Serve this subnet regardless of the machine's state, once it is loaded; None ends that.

        Raises:
            PaletteError: the palette has no such subnet.
            InputError: the subnet may not serve here.
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


def _selected(palette: Palette, only: Collection[str] | None) -> frozenset[str] | None:
    """Return the names of the subnets that may serve, which must exist; None for all."""
    if only is None:
        return None
    if not only:
        raise InputError("`only=[]` names no subnet; expected at least one, or None for all")
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
