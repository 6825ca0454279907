"""Track the texts under way, as far as the choice of a subnet depends on them."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Protocol

__all__ = ["Demand", "UnderWay"]

_USUAL_PROMPT = 64  # tokens, before the first prompt
_REMEMBERED = 8


class UnderWay(Protocol):
    """Provide what `Demand` needs of a text."""

    @property
    def prompt_tokens(self) -> int:
        """Return the length of its prompt in tokens."""

    @property
    def capacity(self) -> int:
        """Return the capacity of its cache in tokens."""

    def cancel(self) -> None:
        """Generate no further token."""

    def end(self, limit_s: float = -1.0) -> bool:
        """Release everything; return False if the token under way takes longer than the limit."""

    def abandon(self) -> None:
        """End in a forked process, where nothing of it may be used or freed."""


class Demand:
    """Track all texts of one generator. Thread-safe."""

    def __init__(self, context: int) -> None:
        self._texts: set[UnderWay] = set()
        self._prompts: deque[int] = deque([min(_USUAL_PROMPT, context)], maxlen=_REMEMBERED)
        self._lock = threading.RLock()  # a text may end in a garbage collection, even one inside this lock

    @property
    def cached_tokens(self) -> int:
        """Return the capacity of all caches in tokens."""
        return sum(text.capacity for text in self._under_way())

    @property
    def prompt_tokens(self) -> int:
        """Return the length of the longest recent prompt in tokens."""
        with self._lock:
            return max(self._prompts)

    def begin(self, text: UnderWay) -> None:
        """Add a text."""
        with self._lock:
            self._texts.add(text)
            self._prompts.append(text.prompt_tokens)

    def end(self, text: UnderWay) -> None:
        """Remove a text that has released its cache."""
        with self._lock:
            self._texts.discard(text)

    def cancel_all(self) -> None:
        """Let each end after the token that is under way."""
        for text in self._under_way():
            text.cancel()

    def end_all(self, limit_s: float) -> bool:
        """Cancel all texts and wait; return False if a token under way takes longer than the limit."""
        self.cancel_all()
        end_s = time.monotonic() + limit_s
        have_ended = [text.end(max(0.0, end_s - time.monotonic())) for text in self._under_way()]
        return all(have_ended)

    def abandon(self) -> None:
        """Forget all texts, in a forked process."""
        self._lock = threading.RLock()
        for text in self._texts:
            text.abandon()
        self._texts = set()

    def _under_way(self) -> tuple[UnderWay, ...]:
        with self._lock:
            return tuple(self._texts)
