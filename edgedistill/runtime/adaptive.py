"""The session that applications hold: it feels like onnxruntime's, and the subnet behind it changes."""

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

# What is assumed before the first request: the length that the manifest's MACs are of.
_USUAL_TOKENS = 64
_AT_ONCE_MS = float("-inf")  # a deadline that no subnet is expected to keep, so that the smallest is asked


class Answer(NamedTuple):
    """Outputs in the order asked for, the subnet that gave them, whose that is, and how long its run took."""

    outputs: list[NDArray[Any]]
    subnet: str
    palette: Palette
    latency_ms: float


_Answered = tuple[list[Any], LoadedSubnet, float]


@dataclass(frozen=True, slots=True)
class Node:
    """An input or output: onnxruntime's description of it, without its hold on the session."""

    name: str
    type: str
    shape: list[int | str | None]


class AdaptiveSession(Serving):
    """An ``onnxruntime.InferenceSession`` over a palette. All methods may be called from any thread.

    A request that a subnet fails at, or answers with numbers that are not finite, is run by the smallest subnet. If
    that can answer, the one that failed is left alone for a while. Where no other is in memory, and the numbers were
    not finite, another one is loaded for the request. Numbers that are not finite are never returned.

    When another manifest is put in the palette's folder, it is proven and then served, the old one until then;
    tokenizer, labels, inputs and outputs must stay.

    Args:
        palette: its folder, or what `manifest.load` gave. Every file's SHA-256 is checked.
        max_latency_ms: budget for the 95th percentile of one `run`; None for no budget.
        max_memory_mb: budget for all subnets in memory together, in 10⁶ bytes; None for no budget.
        policy: budgets with everything else that `Policy` has, in place of the two before.
        threads: threads of each run; None for all the cores that this process may use when a subnet is loaded.
        interval_s: seconds between two looks at the machine.
        profile: the name of the profile to go by; None for the one nearest to this machine.
        only: names of the subnets that may serve; None for all.
        digest: the one that the palette must have, as `edgedistill inspect --json` prints it; another one is neither
            opened nor served later. None for any.
        on_decision: told of each decision that differs from the one before, in the thread that decides.
        sensors: what is looked at; None for this machine.
        create: makes the session of a subnet by name; None for onnxruntime's on the CPU. It knows this palette alone:
            with it, none that is put in its place is served.
        clock: seconds from any start, never going back.

    Raises:
        PaletteError: the palette is damaged, is for generation, or has no profile or no subnet of that name.
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
        # onnxruntime would ask its session for them in every run.
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
        """The outputs of those names (None: all), as onnxruntime gives them.

        With ``deadline_ms`` the smallest subnet answers this one call where the live one is not expected to in time.

        Raises:
            InputError: ``deadline_ms`` is not a number.
            RunError: no subnet answered with finite numbers.
            SessionClosed: after `close`.
            ValueError, or an exception of onnxruntime's: the graphs refuse the feeds.
        """
        return self._answered(output_names, feeds, deadline_ms)[0]

    async def run_async(
        self, output_names: Sequence[str] | None, feeds: Mapping[str, Any], *, deadline_ms: float | None = None
    ) -> list[NDArray[Any]]:
        """As `run`, in a thread of the event loop's own pool, so that the loop goes on meanwhile."""
        import asyncio

        return await asyncio.to_thread(self.run, output_names, feeds, deadline_ms=deadline_ms)

    def answer(
        self, output_names: Sequence[str] | None, feeds: Mapping[str, Any], *, deadline_ms: float | None = None
    ) -> Answer:
        """Run as `run` does, and return the subnet that answered and its latency too; it raises the same."""
        outputs, subnet, latency_ms = self._answered(output_names, feeds, deadline_ms)
        return Answer(outputs, subnet.name, subnet.palette, latency_ms)

    def second_answer(self, output_names: Sequence[str] | None, feeds: Mapping[str, Any], first: Answer) -> Answer:
        """By the smallest subnet; the first one again where that was the smallest, or is alone in memory.

        It raises what `run` does.
        """
        fallback = self._controller.fallback
        if fallback is None or fallback.name == first.subnet:
            return first
        outputs, subnet, latency_ms = self._answered(output_names, feeds, _AT_ONCE_MS)
        return Answer(outputs, subnet.name, subnet.palette, latency_ms)

    def _answered(
        self, output_names: Sequence[str] | None, feeds: Mapping[str, Any], deadline_ms: float | None
    ) -> _Answered:
        """Outputs, whose they are, and the latency; in few functions, for the reason that `LoadedSubnet.run` has."""
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
                    self._controller.live  # noqa: B018 (where it was closed meanwhile, that is why)
                    raise
                return instead
        outputs, ended_s, latency_ms = ran
        self._observe(ended_s, subnet, size, latency_ms)
        if all_finite(outputs):
            return outputs, subnet, latency_ms
        instead = self._answered_by_other(subnet, names, feeds, NOT_FINITE, may_load=True)
        if instead is None:
            self._controller.live  # noqa: B018 (where it was closed meanwhile, that is why)
            raise RunError(f"{subnet.name}: {NOT_FINITE}, and no other subnet could answer; run 'edgedistill verify'")
        return instead

    def _answered_by_other(
        self, failed: LoadedSubnet, names: Sequence[str], feeds: Mapping[str, Any], why: str, *, may_load: bool = False
    ) -> _Answered | None:
        """Return another subnet's answer, and complain about those that failed; None where none can answer.

        ``may_load``: load one where no other is in memory.
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
        """Name, type and shape of each input, the same for every subnet."""
        return self._described("get_inputs")

    def get_outputs(self) -> list[Node]:
        """Name, type and shape of each output, the same for every subnet."""
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
    """A short request: the arena never gives back what the first one took.

    Raises:
        LoadError: it fails.
    """
    import numpy as np

    made = {"attention_mask": np.ones}
    feeds = {node.name: made.get(node.name, np.zeros)((1, 2), np.int64) for node in session.get_inputs()}
    try:
        session.run(None, feeds, run_options())
    except Exception as error:  # onnxruntime's share no base class
        raise LoadError(f"it answers nothing: {next(iter(str(error).splitlines()), type(error).__name__)}") from error


def _size_of(feeds: Mapping[str, Any]) -> tuple[int, int]:
    """Batch and tokens, from the first input of at least two dimensions: [batch, tokens, …].

    Mostly that is its shape as it stands: a `Size` costs a request 1.5 µs more.
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
    """Of a value of onnxruntime's own, whose shape is a method, or of nested lists."""
    if hasattr(feed, "shape"):
        return tuple(feed.shape())
    import numpy as np

    return tuple(np.shape(feed))
