"""The session that applications hold: it feels like onnxruntime's, and the subnet behind it changes."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from edgedistill.errors import InputError
from edgedistill.manifest import Palette, load
from edgedistill.runtime.controller import Controller, DecisionRecord
from edgedistill.runtime.costs import costs_for
from edgedistill.runtime.onnx import OnnxSession, create_session, usable_cores
from edgedistill.runtime.profiles import choose_profile
from edgedistill.runtime.selector import Policy
from edgedistill.runtime.sensors import Sensors, SystemSensors
from edgedistill.runtime.slowdown import Size

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["AdaptiveSession", "Answer", "Node"]

# What is assumed before the first request: the length that the manifest's MACs are of.
_USUAL_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Answer:
    """Outputs in the order asked for, the subnet that gave them, and how long its run took."""

    outputs: list[NDArray[Any]]
    subnet: str
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Node:
    """An input or output: onnxruntime's description of it, without its hold on the session."""

    name: str
    type: str
    shape: list[int | str | None]


class AdaptiveSession:
    """An ``onnxruntime.InferenceSession`` over a palette. All methods may be called from any thread.

    Args:
        palette: its folder, or what `manifest.load` gave. Every file's SHA-256 is checked.
        max_latency_ms: budget for the 95th percentile of one `run`; None for no budget.
        max_memory_mb: budget for one subnet's memory in 10⁶ bytes; None for no budget.
        threads: threads of each run; None for all the cores that this process may use.
        interval_s: seconds between two looks at the machine.
        profile: the name of the profile to go by; None for the one nearest to this machine.
        dwell_s: shortest time between two swaps.
        up_dwell_s: shortest time before a swap to a better subnet.
        sensors: what is looked at; None for this machine.
        create: makes the session of a subnet by name; None for onnxruntime's on the CPU.
        clock: seconds from any start, never going back.

    Raises:
        PaletteError: the palette is damaged, or has no profile of that name.
        InputError: an option is out of its range.
        OnnxruntimeMissing: no onnxruntime.
        LoadError: the first subnet cannot be loaded.
    """

    def __init__(
        self,
        palette: str | Path | Palette,
        *,
        max_latency_ms: float | None = None,
        max_memory_mb: float | None = None,
        threads: int | None = None,
        interval_s: float = 0.25,
        profile: str | None = None,
        dwell_s: float = 1.0,
        up_dwell_s: float = 3.0,
        sensors: Sensors | None = None,
        create: Callable[[str], OnnxSession] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        policy = Policy(max_latency_ms, max_memory_mb, dwell_s=dwell_s, up_dwell_s=up_dwell_s)
        if not interval_s > 0:
            raise InputError(f"interval_s is {interval_s}; expected a positive number of seconds")
        self._palette = palette if isinstance(palette, Palette) else load(palette)
        self._palette.check_hashes()
        self._clock = clock
        self._controller = Controller(
            create=create or _creator(self._palette, threads),
            costs=costs_for(self._palette.manifest, choose_profile(self._palette, profile)),
            sensors=sensors or SystemSensors(),
            policy=policy,
            clock=clock,
            size=Size(1, min(_USUAL_TOKENS, self._palette.manifest.tokenizer.max_tokens)),
        )
        self._controller.step()
        self._controller.start(interval_s)
        # Also when the session is forgotten, and before the interpreter ends.
        self._finalizer = weakref.finalize(self, self._controller.close)

    def run(self, output_names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[NDArray[Any]]:
        """The outputs of those names (None: all), as onnxruntime gives them.

        Raises:
            SessionClosed: after `close`.
        """
        return self.answer(output_names, feeds).outputs

    def answer(self, output_names: Sequence[str] | None, feeds: Mapping[str, Any]) -> Answer:
        """As `run`, with the subnet that answered and its latency.

        Raises:
            SessionClosed: after `close`.
        """
        with self._controller.lease() as live:
            start_s = self._clock()
            outputs = live.session.run(output_names, feeds)
            latency_ms = (self._clock() - start_s) * 1e3
        self._controller.observe(live.name, _size_of(feeds), latency_ms)
        return Answer(outputs, live.name, latency_ms)

    def get_inputs(self) -> list[Node]:
        """Name, type and shape of each input, the same for every subnet."""
        with self._controller.lease() as live:
            return [Node(node.name, node.type, node.shape) for node in live.session.get_inputs()]

    def get_outputs(self) -> list[Node]:
        """Name, type and shape of each output, the same for every subnet."""
        with self._controller.lease() as live:
            return [Node(node.name, node.type, node.shape) for node in live.session.get_outputs()]

    @property
    def palette(self) -> Palette:
        """The palette that it serves from."""
        return self._palette

    @property
    def active(self) -> str:
        """The subnet that answers now."""
        return self._controller.active

    @property
    def decisions(self) -> tuple[DecisionRecord, ...]:
        """The last decisions, newest last; one that repeats the one before it is not listed again."""
        return self._controller.decisions

    @property
    def swaps(self) -> int:
        """How often the subnet was exchanged."""
        return self._controller.swaps

    def pin(self, subnet: str | None) -> None:
        """Serve this subnet, once it is loaded in the background, whatever the machine says; None ends that.

        Raises:
            PaletteError: the palette has no such subnet.
        """
        if subnet is not None:
            self._palette.manifest.subnet(subnet)
        self._controller.pin(subnet)

    def close(self) -> None:
        """Let the requests under way end, then drop the sessions. Further calls raise SessionClosed."""
        self._finalizer()

    def __enter__(self) -> AdaptiveSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _creator(palette: Palette, threads: int | None) -> Callable[[str], OnnxSession]:
    count = usable_cores() if threads is None else threads
    if count < 1:
        raise InputError(f"threads is {count}; expected at least 1")
    return lambda subnet: create_session(palette.graph_path(subnet), count)


def _size_of(feeds: Mapping[str, Any]) -> Size:
    """Batch and tokens, from the first input of at least two dimensions: [batch, tokens, …]."""
    import numpy as np

    shape = next((shape for feed in feeds.values() if len(shape := np.shape(feed)) >= 2), (1, 1))
    return Size(shape[0], shape[1])
