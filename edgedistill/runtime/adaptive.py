"""Define the session of applications: the interface of onnxruntime's, with a subnet that changes behind it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from edgedistill.errors import InputError, LoadError, RunError
from edgedistill.palette import Palette, open_palette
from edgedistill.runtime.arguments import checked_deadline
from edgedistill.runtime.control.decide import Policy
from edgedistill.runtime.decisions import DecisionRecord
from edgedistill.runtime.finite import NOT_FINITE, all_finite
from edgedistill.runtime.onnx import LARGE_TOKENS, OnnxSession
from edgedistill.runtime.predict.costs import costs_for
from edgedistill.runtime.predict.slowdown import Size
from edgedistill.runtime.sensors import Sensors
from edgedistill.runtime.serving import Serving
from edgedistill.runtime.sessions import LoadedSubnet
from edgedistill.runtime.stopping import run_options
from edgedistill.runtime.tasks import wrong_task

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["AdaptiveSession", "Answer", "Node"]

# Assumed before the first request: the length at which the manifest counts MACs.
_USUAL_TOKENS = 64
_SMALLEST_DEADLINE_MS = float("-inf")  # no subnet is expected to meet it, so that the smallest answers


class Answer(NamedTuple):
    """Hold outputs in the requested order, the subnet that computed them, its palette, and its latency."""

    outputs: list[NDArray[Any]]
    subnet: str
    palette: Palette
    latency_ms: float


_Answered = tuple[list[Any], LoadedSubnet, float]


@dataclass(frozen=True, slots=True)
class Node:
    """Describe an input or output as onnxruntime does, without a reference to the session."""

    name: str
    type: str
    shape: list[int | str | None]


class AdaptiveSession(Serving):
    """Serve a palette like an ``onnxruntime.InferenceSession``. All methods are safe to call from any thread.

    If a subnet fails at a request, or returns numbers that are not finite, the smallest subnet runs the request. If
    that succeeds, the failed subnet is quarantined. If no other subnet is in memory, and the numbers were not finite,
    another one is loaded for the request. Numbers that are not finite are never returned.

    When a new manifest is put in the palette's folder, the new palette is verified and then served; until then the old
    one is. Tokenizer, labels, inputs and outputs must stay the same.

    Args:
        palette: the palette's folder, or a palette from `manifest.load`. Every file's SHA-256 is checked.
        max_latency_ms: budget for the 95th percentile of one `run`; None for no budget.
        max_memory_mb: budget for all subnets in memory together, in 10⁶ bytes; None for no budget.
        policy: budgets and everything else that `Policy` has, in place of the two before.
        threads: threads of each run; None for all the cores that this process may use when a subnet is loaded.
        interval_s: seconds between two readings of the sensors.
        profile: the name of the profile to use; None for the one closest to this machine.
        only: names of the subnets that may serve; None for all.
        digest: the digest that the palette must have, as `edgedistill inspect --json` prints it, now and after a
            replacement. None for any.
        on_decision: called in the deciding thread with each decision that differs from the one before.
        sensors: the sensors to read; None for this machine's.
        create: creates the session of a subnet by name; None for onnxruntime's on the CPU. It is tied to this palette,
            so that a replacement is not served.
        clock: monotonic seconds from any start.

    Raises:
        PaletteError: the palette is damaged, is for generation, or has no profile or no subnet of that name.
        InputError: an option is out of its range.
        OnnxruntimeMissing: onnxruntime cannot be imported.
        LoadError: the first subnet cannot be loaded.
    """

    def __init__(
        self,
        palette: str | Path | Palette,
        *,
        max_latency_ms: float | None = None,
        max_memory_mb: float | None = None,
        policy: Policy | None = None,
        threads: int | None = None,
        interval_s: float = 0.25,
        profile: str | None = None,
        only: Collection[str] | None = None,
        digest: str | None = None,
        on_decision: Callable[[DecisionRecord], None] | None = None,
        sensors: Sensors | None = None,
        create: Callable[[str], OnnxSession] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        opened = open_palette(palette, digest)
        if opened.manifest.generation is not None:
            raise wrong_task(opened.manifest)
        # onnxruntime would look them up in every run.
        self._output_names = [spec.name for spec in opened.manifest.graph_outputs]
        super().__init__(
            opened,
            policy=_policy(policy, max_latency_ms, max_memory_mb),
            size=Size(1, min(_USUAL_TOKENS, opened.manifest.text_input.tokenizer.max_tokens)),
            costs_of=costs_for,
            warm_up=_warm_up,
            threads=threads,
            interval_s=interval_s,
            profile=profile,
            only=only,
            on_decision=on_decision,
            sensors=sensors,
            create=create,
            clock=clock,
        )

    def _start(self, palette: Palette, pinned: str | None) -> None:
        super()._start(palette, pinned)
        self._residents, self._observe = self._armed.residents, self._armed.observe

    def run(
        self, output_names: Sequence[str] | None, feeds: Mapping[str, Any], *, deadline_ms: float | None = None
    ) -> list[NDArray[Any]]:
        """Return the outputs of those names (None: all), as onnxruntime does.

        With ``deadline_ms``, the smallest subnet runs this call if the active one is not expected to finish in time.

        Raises:
            InputError: ``deadline_ms`` is not a number.
            RunError: no subnet returned finite numbers.
            SessionClosed: after `close`.
            ValueError, or an exception of onnxruntime's: the graphs refuse the feeds.
        """
        return self._answered(output_names, feeds, deadline_ms)[0]

    async def run_async(
        self, output_names: Sequence[str] | None, feeds: Mapping[str, Any], *, deadline_ms: float | None = None
    ) -> list[NDArray[Any]]:
        """Do what `run` does in a thread of the event loop's own pool, without blocking the loop."""
        import asyncio

        return await asyncio.to_thread(self.run, output_names, feeds, deadline_ms=deadline_ms)

    def answer(
        self, output_names: Sequence[str] | None, feeds: Mapping[str, Any], *, deadline_ms: float | None = None
    ) -> Answer:
        """Do what `run` does, and also return the subnet and its latency."""
        outputs, subnet, latency_ms = self._answered(output_names, feeds, deadline_ms)
        return Answer(outputs, subnet.name, subnet.palette, latency_ms)

    def second_answer(self, output_names: Sequence[str] | None, feeds: Mapping[str, Any], first: Answer) -> Answer:
        """Answer again by the smallest subnet; return ``first`` if that subnet gave it, or is not in memory.

        The errors are those of `run`.
        """
        fallback = self._controller.fallback
        if fallback is None or fallback.name == first.subnet:
            return first
        outputs, subnet, latency_ms = self._answered(output_names, feeds, _SMALLEST_DEADLINE_MS)
        return Answer(outputs, subnet.name, subnet.palette, latency_ms)

    def _answered(
        self, output_names: Sequence[str] | None, feeds: Mapping[str, Any], deadline_ms: float | None
    ) -> _Answered:
        """Return outputs, their subnet and the latency; `LoadedSubnet.run` says why in so few functions."""
        size, names, ran = _size_of(feeds), output_names or self._output_names, None
        is_large = size[0] * size[1] > LARGE_TOKENS
        while ran is None:  # retired between two lines: then its successor is live already
            if deadline_ms is None:
                subnet = self._residents.live or self._controller.live
            else:
                subnet = self._controller.in_time(checked_deadline(deadline_ms), Size(*size))
            try:
                ran = subnet.run(names, feeds, is_large, self._clock)
            except Exception as error:  # onnxruntime's share no base class
                instead = self._answered_by_other(subnet, names, feeds, f"{type(error).__name__}: {error}")
                if instead is None:
                    self._controller.live  # noqa: B018 (raises if it was closed meanwhile)
                    raise
                return instead
        outputs, ended_s, latency_ms = ran
        self._observe(ended_s, subnet, size, latency_ms)
        if all_finite(outputs):
            return outputs, subnet, latency_ms
        instead = self._answered_by_other(subnet, names, feeds, NOT_FINITE, may_load=True)
        if instead is None:
            self._controller.live  # noqa: B018 (raises if it was closed meanwhile)
            raise RunError(f"{subnet.name}: {NOT_FINITE}, and no other subnet could answer; run 'edgedistill verify'")
        return instead

    def _answered_by_other(
        self, failed: LoadedSubnet, names: Sequence[str], feeds: Mapping[str, Any], why: str, *, may_load: bool = False
    ) -> _Answered | None:
        """Return another subnet's answer, and report those that failed; None if none can answer.

        ``may_load``: load one if no other is in memory.
        """
        tried, size = [failed], _size_of(feeds)
        while (other := self._controller.other_than(tried, why, may_load=may_load)) is not None:
            try:
                ran = other.run(names, feeds, True, self._clock)
            except Exception:  # noqa: BLE001 (if none can answer, the request is at fault, and the first error says why)
                tried.append(other)
                continue
            if ran is None:  # it was retired, and another is in its place
                continue
            outputs, ended_s, latency_ms = ran
            self._observe(ended_s, other, size, latency_ms)
            if all_finite(outputs):
                for subnet in tried:
                    self._controller.complain(subnet, why)
                return outputs, other, latency_ms
            tried.append(other)
        if may_load:
            self._controller.pardon(tried)
        return None

    def get_inputs(self) -> list[Node]:
        """Return name, type and shape of each input, the same for every subnet."""
        return self._described("get_inputs")

    def get_outputs(self) -> list[Node]:
        """Return name, type and shape of each output, the same for every subnet."""
        return self._described("get_outputs")

    def _described(self, nodes: Literal["get_inputs", "get_outputs"]) -> list[Node]:
        with self._controller.lease() as live:
            return [Node(node.name, node.type, node.shape) for node in getattr(live.session, nodes)()]


def _policy(policy: Policy | None, max_latency_ms: float | None, max_memory_mb: float | None) -> Policy:
    if policy is None:
        return Policy(max_latency_ms, max_memory_mb)
    if max_latency_ms is not None or max_memory_mb is not None:
        raise InputError("budgets are given twice: by themselves and in policy; give them in policy alone")
    return policy


def _warm_up(session: OnnxSession) -> None:
    """Run a short request: the arena never returns what the first one took.

    Raises:
        LoadError: the request fails.
    """
    import numpy as np

    creators = {"attention_mask": np.ones}
    feeds = {node.name: creators.get(node.name, np.zeros)((1, 2), np.int64) for node in session.get_inputs()}
    try:
        session.run(None, feeds, run_options())
    except Exception as error:  # onnxruntime's share no base class
        raise LoadError(f"it answers nothing: {next(iter(str(error).splitlines()), type(error).__name__)}") from error


def _size_of(feeds: Mapping[str, Any]) -> tuple[int, int]:
    """Return batch and tokens, from the first input of at least two dimensions: [batch, tokens, …].

    Usually that is its shape itself: a `Size` would cost a request 1.5 µs more.
    """
    for feed in feeds.values():
        shape = getattr(feed, "shape", None)
        if type(shape) is not tuple:
            shape = _shape(feed)
        if len(shape) == 2:
            return shape
        if len(shape) > 2:
            return shape[0], shape[1]
    return 1, 1


def _shape(feed: Any) -> tuple[int, ...]:
    """Return the shape of an ``OrtValue``, where it is a method, or of nested lists."""
    if hasattr(feed, "shape"):
        return tuple(feed.shape())
    import numpy as np

    return tuple(np.shape(feed))
