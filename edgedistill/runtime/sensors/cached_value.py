"""What was found out of the file tree, kept for a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["CachedValue"]

_Value = TypeVar("_Value")


class CachedValue(Generic[_Value]):
    """What ``search`` gave, searched for again when that is ``kept_s`` old.

    By default that is once a minute: finding files takes many reads, and which there are hardly changes; but it
    does, since drivers load late, devices are numbered anew, and limits are set on a process that runs.
    """

    def __init__(self, search: Callable[[], _Value], clock: Callable[[], float], *, kept_s: float = 60.0) -> None:
        self._search = search
        self._clock = clock
        self._kept_s = kept_s
        self._kept: tuple[float, _Value] | None = None

    def __call__(self) -> _Value:
        """The present finding."""
        now_s = self._clock()
        if self._kept is None or now_s - self._kept[0] >= self._kept_s:
            self._kept = now_s, self._search()
        return self._kept[1]
