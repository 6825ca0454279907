"""Match stop strings in a stream of text, without ever emitting part of one."""

from __future__ import annotations

from collections.abc import Sequence

from edgedistill.errors import InputError
from edgedistill.runtime.arguments import checked_items

__all__ = ["StopStrings"]


class StopStrings:
    """Pass a text on, piece by piece, up to the first stop string, which is left out.

    A possible start of a stop string is held back until it turns out not to be one. Of two that overlap, the one that
    is complete first counts; of two that end together, the longer. The division into pieces makes no difference.

    Raises:
        InputError: a stop string is not a string, or empty.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        if isinstance(stops, str):
            raise InputError("stop is one string; expected a list of them")
        stops = tuple(checked_items(stops, "stop", "a list of strings"))
        for stop in stops:
            if not isinstance(stop, str) or not stop:
                raise InputError(f"a stop string is {stop!r}; expected a text that is not empty")
        self._stops = stops
        self._held = ""

    def add(self, piece: str) -> tuple[str, bool]:
        """Return the text that can be emitted now, and whether a stop string has ended it."""
        if not self._stops:
            return piece, False
        text, self._held = self._held + piece, ""
        met = [(place + len(stop), place) for stop in self._stops if (place := text.find(stop)) >= 0]
        if met:
            return text[: min(met)[1]], True
        held = max((_overlap(text, stop) for stop in self._stops), default=0)
        shown = text[: len(text) - held]
        self._held = text[len(shown) :]
        return shown, False

    def rest(self) -> str:
        """Return the text held back, at the end of the stream."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of ``text`` are the start of ``stop``."""
    longest = min(len(text), len(stop) - 1)
    return next((count for count in range(longest, 0, -1) if text.endswith(stop[:count])), 0)
