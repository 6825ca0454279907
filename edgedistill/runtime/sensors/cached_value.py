"""Cache what a search of the file tree found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["CachedValue"]

_Value = TypeVar("_Value")


class CachedValue(Generic[_Value]):
    """Cache the result of ``search`` for ``max_age_s``.

    The default is a minute: a search takes many reads, and its result seldom changes. But it does change: drivers load
    late, devices get new numbers, and limits are set on a running process.
    """

    def __init__(self, search: Callable[[], _Value], clock: Callable[[], float], *, max_age_s: float = 60.0) -> None:
        self._search = search
        self._clock = clock
        self._max_age_s = max_age_s
        self._cached: tuple[float, _Value] | None = None

    def __call__(self) -> _Value:
        """Return the cached value, searching again if it is too old."""
        now_s = self._clock()
        if self._cached is None or now_s - self._cached[0] >= self._max_age_s:
            self._cached = now_s, self._search()
        return self._cached[1]
