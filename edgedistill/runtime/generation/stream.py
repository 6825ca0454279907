"""Stream the pieces of a text, and report its figures at the end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

from edgedistill.errors import InputError
from edgedistill.runtime.generation.active_text import ActiveText
from edgedistill.runtime.generation.detokenizer import Detokenizer
from edgedistill.runtime.generation.stop_strings import StopStrings
from edgedistill.runtime.generation.token_sampling import Sampler

__all__ = ["Ending", "Generated", "Stream", "Writer"]

Ending = Literal["eos", "stop", "length", "cancelled"]
"""The reason of an end: an end-of-text token, a stop string, the maximum length, or cancelled or closed."""


@dataclass(frozen=True, slots=True)
class Generated:
    """Hold a generated text.

    Attributes:
        text: the text without the prompt, the stop string, and an incomplete character at the end.
        token_ids: the generated tokens, a stop string's included, without the end-of-text token.
        reason: the reason of its end.
        subnets: the subnets that generated it in turn, with the number of tokens each, the end-of-text token included.
        first_token_ms: time from the start to the first token; None without one.
        tokens_per_s: speed after the first token, swaps included, without the time that the reader took; None without
            such tokens.
    """

    text: str
    token_ids: list[int]
    reason: Ending
    subnets: list[tuple[str, int]]
    first_token_ms: float | None
    tokens_per_s: float | None


class Writer:
    """Decode a text's tokens into pieces of characters until it ends.

    Args:
        text: a text that has not started.
        sampler: samples its tokens.
        detokenizer: decodes them.
        stops: the strings that end it.
        ends: the tokens that end it.
        most: maximum number of tokens.
        clock: seconds from any start.
    """

    def __init__(
        self,
        text: ActiveText,
        *,
        sampler: Sampler,
        detokenizer: Detokenizer,
        stops: StopStrings,
        ends: Collection[int],
        most: int,
        clock: Callable[[], float],
    ) -> None:
        self.text = text
        self._sampler, self._detokenizer, self._stops = sampler, detokenizer, stops
        self._ends, self._most, self._clock = frozenset(ends), most, clock
        self._emitted: list[str] = []
        self._steps_s: list[float] = []
        self._reason: Ending = "cancelled"

    def write(self) -> Generator[str, None, None]:
        """Yield the pieces; the subnet and the cache are released at the end, however it comes about."""
        try:
            while (token := self._next()) is not None:
                if token in self._ends:
                    self._reason = "eos"
                    break
                piece, is_stopped = self._stops.add(self._detokenizer.add(token))
                if is_stopped:
                    self._reason = "stop"
                elif len(self._steps_s) == self._most:
                    self._reason = "length"
                if piece:
                    self._emitted.append(piece)
                    yield piece
                if self._reason != "cancelled":
                    break
            rest = "" if self._reason == "stop" else self._rest()
            if rest:
                self._emitted.append(rest)
                yield rest
        finally:
            self.text.end()

    def _rest(self) -> str:
        """Return the text held back, which may still contain a stop string."""
        piece, is_stopped = self._stops.add(self._detokenizer.rest())
        if is_stopped:
            self._reason = "stop"
            return piece
        return piece + self._stops.rest()

    def _next(self) -> int | None:
        start_s = self._clock()
        token = self.text.next_token(self._sampler)
        if token is not None:
            self._steps_s.append(self._clock() - start_s)
        return token

    def result(self) -> Generated:
        """Return the text so far."""
        token_ids, steps_s = self.text.generated, self._steps_s
        later_s = sum(steps_s[1:])
        return Generated(
            text="".join(self._emitted),
            token_ids=token_ids[:-1] if self._reason == "eos" else token_ids,
            reason=self._reason,
            subnets=list(self.text.subnets),
            first_token_ms=steps_s[0] * 1e3 if steps_s else None,
            tokens_per_s=(len(steps_s) - 1) / later_s if later_s > 0 else None,
        )


class Stream(Iterator[str]):
    """Iterate over a text's pieces, which are whole characters and never part of a stop string.

    From the first piece on it holds a subnet and a cache: read it to the end, close it, or use it as a context manager.
    A forgotten stream closes by itself. `cancel` may be called from any thread, everything else from one at a time.
    """

    def __init__(self, writer: Writer, owner: object) -> None:
        self._writer, self._pieces = writer, writer.write()
        self._owner: object | None = owner  # whose subnets would end with its last reference
        self._is_over = False

    def __next__(self) -> str:
        try:
            return next(self._pieces)
        except BaseException:
            self.close()
            raise

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Refuse to be pickled or copied.

        Raises:
            InputError: always.
        """
        raise InputError("a text under way cannot be pickled; begin it in the process that reads it")

    def cancel(self) -> None:
        """End the text after the token under way; the reader gets no more pieces."""
        self._writer.text.cancel()

    def close(self) -> None:
        """End the text now."""
        self._pieces.close()
        self._is_over, self._owner = True, None

    @property
    def result(self) -> Generated:
        """Return the generated text, once it has ended.

        Raises:
            InputError: it has not ended.
        """
        if not self._is_over:
            raise InputError("the text is still being generated; read the stream to its end, or close it")
        return self._writer.result()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
