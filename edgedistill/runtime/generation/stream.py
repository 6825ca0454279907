"""The pieces of a text as they come, and what there is to tell of it at its end."""

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
"""A token that ends texts, a stop string, as many tokens as there may be, or being cancelled or closed."""


@dataclass(frozen=True, slots=True)
class Generated:
    """A text that was generated.

    Attributes:
        text: without the prompt, the stop string, and a character that was not whole at the end.
        token_ids: what was generated, a stop string's tokens too, but not the token that ends texts.
        reason: why it ended.
        subnets: which subnets gave it, one after another, and how many tokens in a row, the one that ends texts too.
        first_token_ms: from the beginning to the first token; None where there was none.
        tokens_per_s: of those after the first, by the time that they took, swaps included, but not the time that
            whoever reads the pieces took; None where there were none.
    """

    text: str
    token_ids: list[int]
    reason: Ending
    subnets: list[tuple[str, int]]
    first_token_ms: float | None
    tokens_per_s: float | None


class Writer:
    """Turns a text's tokens into pieces of characters until one of its ends is met.

    Args:
        text: that has not begun.
        sampler: draws its tokens.
        pieces: makes characters of them.
        stops: the strings that end it.
        ends: the tokens that end it.
        most: how many tokens there may be.
        clock: seconds from any start.
    """

    def __init__(
        self,
        text: ActiveText,
        *,
        sampler: Sampler,
        pieces: Detokenizer,
        stops: StopStrings,
        ends: Collection[int],
        most: int,
        clock: Callable[[], float],
    ) -> None:
        self.text = text
        self._sampler, self._pieces, self._stops = sampler, pieces, stops
        self._ends, self._most, self._clock = frozenset(ends), most, clock
        self._given: list[str] = []
        self._steps_s: list[float] = []
        self._reason: Ending = "cancelled"

    def write(self) -> Generator[str, None, None]:
        """The pieces; what is held is given back at their end, whoever or whatever brings it about."""
        try:
            while (token := self._next()) is not None:
                if token in self._ends:
                    self._reason = "eos"
                    break
                piece, is_stopped = self._stops.add(self._pieces.add(token))
                if is_stopped:
                    self._reason = "stop"
                elif len(self._steps_s) == self._most:
                    self._reason = "length"
                if piece:
                    self._given.append(piece)
                    yield piece
                if self._reason != "cancelled":
                    break
            rest = "" if self._reason == "stop" else self._rest()
            if rest:
                self._given.append(rest)
                yield rest
        finally:
            self.text.end()

    def _rest(self) -> str:
        """What was held back; it may hold a stop string still."""
        piece, is_stopped = self._stops.add(self._pieces.rest())
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
        """What there is of it now."""
        token_ids, steps_s = self.text.generated, self._steps_s
        later_s = sum(steps_s[1:])
        return Generated(
            text="".join(self._given),
            token_ids=token_ids[:-1] if self._reason == "eos" else token_ids,
            reason=self._reason,
            subnets=list(self.text.subnets),
            first_token_ms=steps_s[0] * 1e3 if steps_s else None,
            tokens_per_s=(len(steps_s) - 1) / later_s if later_s > 0 else None,
        )


class Stream(Iterator[str]):
    """Gives a text piece by piece; each piece is whole characters, and no part of a stop string.

    From the first piece on it holds a subnet and a cache until its end: read it to the end, close it, or use it as a
    context manager; one that is forgotten closes by itself. `cancel` may be called from any thread, everything else
    from one at a time.
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
        """End it after the token that is under way; whoever reads it then gets no more."""
        self._writer.text.cancel()

    def close(self) -> None:
        """End it now."""
        self._pieces.close()
        self._is_over, self._owner = True, None

    @property
    def result(self) -> Generated:
        """What was generated; once it has ended.

        Raises:
            InputError: it has not.
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
