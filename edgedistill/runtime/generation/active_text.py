"""One text under way: its tokens so far, and the subnet that gives the next one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from edgedistill.errors import GenerationError, SessionClosed
from edgedistill.runtime.control.loop import Controller
from edgedistill.runtime.finite import NOT_FINITE
from edgedistill.runtime.forks import AFTER_FORK, leak
from edgedistill.runtime.generation.cache import capacity_for
from edgedistill.runtime.generation.cache_slot import CacheSlot
from edgedistill.runtime.generation.demand import Demand
from edgedistill.runtime.generation.generation_costs import STEP
from edgedistill.runtime.generation.migration import Migration, is_worth_it
from edgedistill.runtime.generation.token_sampling import Sampler
from edgedistill.runtime.predict.slowdown import Size
from edgedistill.runtime.sessions import Lease, LoadedSubnet

__all__ = ["ActiveText"]


class ActiveText:
    """Asks for the live subnet at each token, and moves to it where that is called for (`moving`).

    A subnet that fails, or answers with numbers that are not finite, is left for the smallest, which reads the tokens
    so far and goes on. One thread at a time asks for tokens; `cancel` and `end` may come from any. It takes nothing
    before its first token.

    Args:
        controller: of the subnets.
        demand: told that it is under way.
        clock: seconds from any start.
        prompt: token ids, at least one.
        most: how many tokens to generate at most; there must be room for them.
        context: tokens that a text may have at most.
        first_token_ms: by when the first token should be there; None for no matter.
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
        self._seat: CacheSlot | None = None
        self._failed: tuple[LoadedSubnet, ...] = ()
        self._lock = threading.Lock()
        self._asking: int | None = None  # the thread that asks for a token
        self._cancelled = self._is_abandoned = False
        self._givers: list[str] = []  # of each token

    @property
    def subnets(self) -> list[tuple[str, int]]:
        """The names of those that gave its tokens, one after another, and how many tokens in a row."""
        return [(name, len(list(tokens))) for name, tokens in groupby(self._givers)]

    @property
    def generated(self) -> list[int]:
        """The tokens after the prompt."""
        return self._tokens[self.prompt_tokens :]

    def next_token(self, sampler: Sampler) -> int | None:
        """One more token; None once it was cancelled.

        Raises:
            GenerationError: the subnet failed, and no other can go on.
            SessionClosed: the controller was closed.
        """
        with self._lock:
            if self._is_abandoned:
                raise SessionClosed(AFTER_FORK)
            if self._cancelled:
                return None
            self._asking = threading.get_ident()
            try:
                token, giver = self._given(sampler)
            except GenerationError:
                if self._cancelled:  # meanwhile, and its run was ended
                    return None
                raise
            finally:
                self._asking = None
            self._tokens.append(token)
            self._givers.append(giver.name)
            return token

    def cancel(self) -> None:
        """No token after the one that is under way."""
        self._cancelled = True

    def end(self, limit_s: float = -1.0) -> bool:
        """Cancel it, and give back the subnet and the cache, after the token that is under way.

        False where that takes longer than the limit (negative: there is none); then whoever asked for it ends the text.
        """
        self._cancelled = True
        if self._asking == threading.get_ident():
            return True  # within a token, by a signal's handler: whoever asked for it ends the text
        if not self._lock.acquire(timeout=limit_s):
            return False
        try:
            self._leave()
            self._demand.end(self)
        finally:
            self._lock.release()
        return True

    def abandon(self) -> None:
        """Give no token in a process that was forked, and free nothing: the subnet's threads are not there."""
        leak(self, self._seat)
        self._lock, self._asking, self._seat, self._is_abandoned = threading.Lock(), None, None, True

    def _given(self, sampler: Sampler) -> tuple[int, LoadedSubnet]:
        """The next token, and the subnet that gave it; in few functions, for the reason that `LoadedSubnet.run` has."""
        seat = self._settled()
        subnet = seat.subnet
        try:
            logits = self._run(seat)
        except Exception as error:  # noqa: BLE001 (onnxruntime's share no base class)
            why = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
            return self._rescued(sampler, subnet, why, error)
        token = sampler.pick(logits)
        if token is not None:
            return token, subnet
        return self._rescued(sampler, subnet, NOT_FINITE, None)

    def _run(self, seat: CacheSlot) -> NDArray[np.float32]:
        tokens = seat.missing(self._tokens)
        start_s = self._clock()
        logits = seat.run(tokens)
        ended_s = self._clock()
        self._controller.observe(ended_s, seat.subnet, Size(1, len(tokens)), (ended_s - start_s) * 1e3)
        return logits

    def _rescued(
        self, sampler: Sampler, failed: LoadedSubnet, why: str, error: Exception | None
    ) -> tuple[int, LoadedSubnet]:
        """Return another subnet's token, and complain about those that failed.

        Where the numbers were not finite (there is no error then), one is loaded if no other is in memory.
        """
        tried, may_load = [failed], error is None
        self._leave()  # another one's cache may only fit in the place of this one's
        while (other := self._controller.other_than(tried, why, may_load=may_load)) is not None:
            lease = Lease(other)
            if not lease.is_held:  # it was retired, and another is in its place
                continue
            try:
                token = sampler.pick(self._run(self._sit(lease)))
            except Exception:  # noqa: BLE001 (if none can go on, the text is at fault, and the first error says why)
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

    # Where it sits.

    def _settled(self) -> CacheSlot:
        """Where the next token comes from."""
        seat = self._seat
        if seat is None:
            self._demand.begin(self)
            return self._sit(self._first_lease())
        if self._controller.live in (seat.subnet, *self._failed):
            return seat
        lease = self._controller.lease()
        live = lease.subnet
        if live.name == seat.subnet.name and live.palette is seat.subnet.palette:
            seat.change_session(lease)  # of the same graph, loaded again
        elif is_worth_it(self._move(seat.subnet, live)):
            return self._sit(lease)
        else:
            lease.release()
        return seat

    def _first_lease(self) -> Lease:
        if self._first_token_ms is None:
            return self._controller.lease()
        return self._controller.lease_for(self._first_token_ms, Size(1, self.prompt_tokens))

    def _sit(self, lease: Lease) -> CacheSlot:
        """On this subnet; the cache of the one before goes back first."""
        self._leave()
        self._seat = CacheSlot(lease, self.capacity)
        return self._seat

    def _leave(self) -> None:
        if self._seat is not None:
            self._seat.leave()
            self._seat = None

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
    """On a quiet machine: contention slows all subnets alike."""
    assert subnet.source is not None
    return subnet.source.costs.candidate(subnet.name, size).p50_ms
