"""Texts that end a generation: found as soon as they are whole, and never shown in part."""

from __future__ import annotations

from collections.abc import Sequence

from edgedistill.errors import InputError
from edgedistill.runtime.arguments import checked_items

__all__ = ["StopStrings"]


class StopStrings:
    """Passes a text on, piece by piece, up to the first stop string, which is left out.

    What might be a stop string's beginning is held back until it is none. Where two overlap, the one that is whole
    first counts, and of two that end together the longer: how the text is cut into pieces makes no difference.

    Raises:
        InputError: a stop string is none, or empty.
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
        """What may be shown now, and whether a stop string was met, which ends it."""
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
        """What is held back, once nothing more comes."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of ``text`` are the beginning of ``stop``."""
    longest = min(len(text), len(stop) - 1)
    return next((count for count in range(longest, 0, -1) if text.endswith(stop[:count])), 0)
