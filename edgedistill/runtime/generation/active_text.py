"""Generate one text: its tokens so far, and the subnet of the next one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from edgedistill.errors import GenerationError, SessionClosed
from edgedistill.runtime.control.controller import Controller
from edgedistill.runtime.engine.kv_cache import capacity_for
from edgedistill.runtime.finite import NOT_FINITE
from edgedistill.runtime.forks import AFTER_FORK, leak
from edgedistill.runtime.generation.cache_slot import CacheSlot
from edgedistill.runtime.generation.demand import Demand
from edgedistill.runtime.generation.generation_costs import STEP
from edgedistill.runtime.generation.migration import Migration, is_worth_it
from edgedistill.runtime.generation.token_sampling import Sampler
from edgedistill.runtime.predict.slowdown import Size
from edgedistill.runtime.sessions import Lease, LoadedSubnet

__all__ = ["ActiveText"]


class ActiveText:
    """Generate a text's tokens on the active subnet, moving to another if `migration` decides so.

    If a subnet fails, or returns numbers that are not finite, the smallest re-prefills the tokens so far and continues.
    One thread at a time requests tokens; any thread may call `cancel` and `end`. Nothing is allocated before the first
    token.

    Args:
        controller: the controller of the subnets.
        demand: tracks the texts under way.
        clock: seconds from any start.
        prompt: token ids, at least one.
        most: maximum number of tokens to generate, within the context.
        context: maximum number of tokens of a text.
        first_token_ms: deadline of the first token; None for none.
    """

    def __init__(
        self,
        controller: Controller,
        demand: Demand,
        clock: Callable[[], float],
        prompt: Sequence[int],
        most: int,
        context: int,
        first_token_ms: float | None,
    ) -> None:
        self._controller, self._demand, self._clock = controller, demand, clock
        self._tokens = list(prompt)
        self.prompt_tokens, self._most = len(prompt), most
        self._first_token_ms = first_token_ms
        self.capacity = capacity_for(len(prompt) + most, context)
        self._slot: CacheSlot | None = None
        self._failed: tuple[LoadedSubnet, ...] = ()
        self._lock = threading.Lock()
        self._requesting: int | None = None  # the thread that requests a token
        self._cancelled = self._is_abandoned = False
        self._sources: list[str] = []  # the subnet of each token

    @property
    def subnets(self) -> list[tuple[str, int]]:
        """Return the subnets of its tokens in turn, with the number of tokens each."""
        return [(name, len(list(tokens))) for name, tokens in groupby(self._sources)]

    @property
    def generated(self) -> list[int]:
        """Return the tokens after the prompt."""
        return self._tokens[self.prompt_tokens :]

    def next_token(self, sampler: Sampler) -> int | None:
        """Return the next token; None once cancelled.

        Raises:
            GenerationError: the subnet failed, and no other can continue.
            SessionClosed: the controller was closed.
        """
        with self._lock:
            if self._is_abandoned:
                raise SessionClosed(AFTER_FORK)
            if self._cancelled:
                return None
            self._requesting = threading.get_ident()
            try:
                token, source = self._generate(sampler)
            except GenerationError:
                if self._cancelled:  # meanwhile, and its run was ended
                    return None
                raise
            finally:
                self._requesting = None
            self._tokens.append(token)
            self._sources.append(source.name)
            return token

    def cancel(self) -> None:
        """Generate no token after the one under way."""
        self._cancelled = True

    def end(self, limit_s: float = -1.0) -> bool:
        """Cancel the text, and release the subnet and the cache after the token under way.

        Return False if that takes longer than the limit (negative: no limit); then the requesting thread ends the text.
        """
        self._cancelled = True
        if self._requesting == threading.get_ident():
            return True  # within a token, by a signal handler: the requesting thread ends the text
        if not self._lock.acquire(timeout=limit_s):
            return False
        try:
            self._leave()
            self._demand.end(self)
        finally:
            self._lock.release()
        return True

    def abandon(self) -> None:
        """Stop in a forked process, and free nothing: the subnet's threads do not exist there."""
        leak(self, self._slot)
        self._lock, self._requesting, self._slot, self._is_abandoned = threading.Lock(), None, None, True

    def _generate(self, sampler: Sampler) -> tuple[int, LoadedSubnet]:
        """Return the next token and its subnet; `LoadedSubnet.run` says why in so few functions."""
        slot = self._current_slot()
        subnet = slot.subnet
        try:
            logits = self._run(slot)
        except Exception as error:  # noqa: BLE001 (onnxruntime's share no base class)
            why = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
            return self._rescued(sampler, subnet, why, error)
        token = sampler.pick(logits)
        if token is not None:
            return token, subnet
        return self._rescued(sampler, subnet, NOT_FINITE, None)

    def _run(self, slot: CacheSlot) -> NDArray[np.float32]:
        tokens = slot.missing(self._tokens)
        start_s = self._clock()
        logits = slot.run(tokens)
        ended_s = self._clock()
        self._controller.observe(ended_s, slot.subnet, Size(1, len(tokens)), (ended_s - start_s) * 1e3)
        return logits

    def _rescued(
        self, sampler: Sampler, failed: LoadedSubnet, why: str, error: Exception | None
    ) -> tuple[int, LoadedSubnet]:
        """Return another subnet's token, and report those that failed.

        If the numbers were not finite (then ``error`` is None) and no other subnet is in memory, one is loaded.
        """
        tried, may_load = [failed], error is None
        self._leave()  # another cache may only fit in the place of this one
        while (other := self._controller.other_than(tried, why, may_load=may_load)) is not None:
            lease = Lease(other)
            if not lease.is_held:  # it was retired, and another is in its place
                continue
            try:
                token = sampler.pick(self._run(self._enter(lease)))
            except Exception:  # noqa: BLE001 (if none can continue, the text is at fault, and the first error says why)
                token = None
            if token is not None:
                for subnet in tried:
                    self._controller.complain(subnet, why)
                self._failed = tuple(tried)
                return token, other
            tried.append(other)
            self._leave()
        if may_load:
            self._controller.pardon(tried)
        raise GenerationError(
            f"{failed.name} could not go on with a text, nor any other subnet: {why}; run 'edgedistill verify'"
        ) from error

    # The cache slot.

    def _current_slot(self) -> CacheSlot:
        """Return the cache slot of the next token, on another subnet if need be."""
        slot = self._slot
        if slot is None:
            self._demand.begin(self)
            return self._enter(self._first_lease())
        if self._controller.live in (slot.subnet, *self._failed):
            return slot
        lease = self._controller.lease()
        live = lease.subnet
        if live.name == slot.subnet.name and live.palette is slot.subnet.palette:
            slot.change_session(lease)  # of the same graph, loaded again
        elif is_worth_it(self._move(slot.subnet, live)):
            return self._enter(lease)
        else:
            lease.release()
        return slot

    def _first_lease(self) -> Lease:
        if self._first_token_ms is None:
            return self._controller.lease()
        return self._controller.lease_for(self._first_token_ms, Size(1, self.prompt_tokens))

    def _enter(self, lease: Lease) -> CacheSlot:
        """Take a slot on this subnet, after releasing the present one."""
        self._leave()
        self._slot = CacheSlot(lease, self.capacity)
        return self._slot

    def _leave(self) -> None:
        if self._slot is not None:
            self._slot.leave()
            self._slot = None

    def _move(self, held: LoadedSubnet, live: LoadedSubnet) -> Migration:
        tokens = len(self._tokens)
        return Migration(
            reason=self._controller.exchanged_for,
            from_fallback=held is self._controller.fallback,
            is_same_palette=live.palette is held.palette,
            step_ms=_expected_ms(held, STEP),
            new_step_ms=_expected_ms(live, STEP),
            prefill_ms=_expected_ms(live, Size(1, tokens)),
            tokens=tokens,
            made=tokens - self.prompt_tokens,
            most=self._most,
        )


def _expected_ms(subnet: LoadedSubnet, size: Size) -> float | None:
    """Return the latency on a quiet machine: contention slows all subnets equally."""
    assert subnet.source is not None
    return subnet.source.costs.candidate(subnet.name, size).p50_ms
