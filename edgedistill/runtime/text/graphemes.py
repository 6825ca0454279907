"""Find grapheme clusters: what people see as one character, such as a letter with accents or a family of emoji.

The rules are those of Unicode's annex 29. Their tables are approximated by the categories that Python knows, and where
the two differ, clusters here are larger: a boundary here is a boundary there.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

__all__ = ["Clusters", "Span"]

Span = tuple[int, int]
"""Start and end, in characters."""

_CONTROL, _EXTEND, _LINKER, _ZWJ, _PREPEND, _FLAG, _PICTURE, _LETTER, _OTHER = range(9)
_L, _V, _T, _LV, _LVT = range(10, 15)  # Hangul: leading, vowel, trailing, and syllables without and with a trailing
_LISTED = (
    *((0x200D, 0x200D, _ZWJ), (0x1F1E6, 0x1F1FF, _FLAG)),
    *((0x1100, 0x115F, _L), (0xA960, 0xA97C, _L), (0x1160, 0x11A7, _V), (0xD7B0, 0xD7C6, _V)),
    *((0x11A8, 0x11FF, _T), (0xD7CB, 0xD7FB, _T)),
    *((0x200C, 0x200C, _EXTEND), (0x1F3FB, 0x1F3FF, _EXTEND), (0xE0020, 0xE007F, _EXTEND)),
    *((0xFF9E, 0xFF9F, _EXTEND), (0xE33, 0xE33, _EXTEND), (0xEB3, 0xEB3, _EXTEND)),
    *((0x600, 0x605, _PREPEND), (0x6DD, 0x6DD, _PREPEND), (0x70F, 0x70F, _PREPEND), (0x890, 0x891, _PREPEND)),
    *((0x8E2, 0x8E2, _PREPEND), (0xD4E, 0xD4E, _PREPEND), (0x110BD, 0x110BD, _PREPEND), (0x110CD, 0x110CD, _PREPEND)),
    *((0x111C2, 0x111C3, _PREPEND), (0x113D1, 0x113D1, _PREPEND), (0x1193F, 0x1193F, _PREPEND)),
    *((0x11941, 0x11941, _PREPEND), (0x11A3A, 0x11A3A, _PREPEND), (0x11A84, 0x11A89, _PREPEND)),
    *((0x11D46, 0x11D46, _PREPEND), (0x11F02, 0x11F02, _PREPEND)),
    # Emoji that are neither symbols nor unknown to Python.
    *((0x203C, 0x203C, _PICTURE), (0x2049, 0x2049, _PICTURE), (0x2139, 0x2139, _PICTURE), (0x3030, 0x3030, _PICTURE)),
    (0x303D, 0x303D, _PICTURE),
)
_HANGUL_AFTER = {_L: {_L, _V, _LV, _LVT}, _LV: {_V, _T}, _V: {_V, _T}, _LVT: {_T}, _T: {_T}}
_EXTENDING = {"Mn", "Me", "Mc"}
_VIRAMA = 9  # the combining class of marks that join two consonants


class Clusters:
    """The grapheme clusters of a text, or of its first ``length`` characters."""

    def __init__(self, text: str, length: int | None = None) -> None:
        head = text if length is None else text[:length]
        self._is_start = None if head.isascii() else _starts(head)

    def whole(self, start: int, end: int) -> Span:
        """Return the span with the clusters completed that it begins and ends in."""
        is_start = self._is_start
        if is_start is None:
            return start, end
        while 0 < start < len(is_start) and not is_start[start]:
            start -= 1
        while end < len(is_start) and not is_start[end]:
            end += 1
        return start, end


def _starts(text: str) -> bytearray:
    """Return for each character whether a cluster begins there."""
    starts, before, flags, is_linked = bytearray(len(text)), _CONTROL, 0, False
    for place, character in enumerate(text):
        kind = _kind(character)
        if not (_joins(before, kind, flags, is_linked) or text[place - 1 : place + 1] == "\r\n"):
            starts[place] = 1
        flags = flags + 1 if kind == _FLAG else 0
        is_linked = kind == _LINKER or (is_linked and kind in (_EXTEND, _ZWJ))
        before = kind
    return starts


def _joins(before: int, kind: int, flags: int, is_linked: bool) -> bool:
    """Return whether a character belongs to the cluster of the one before it.

    ``flags``: how many regional indicators end there. ``is_linked``: whether a virama awaits its second consonant.
    """
    if _CONTROL in (before, kind):
        return False
    if kind in (_EXTEND, _LINKER, _ZWJ) or before == _PREPEND:
        return True
    if kind == _FLAG:
        return flags % 2 == 1
    if kind == _PICTURE:
        return before == _ZWJ
    if kind == _LETTER:
        return is_linked
    return kind in _HANGUL_AFTER.get(before, ())


@lru_cache(maxsize=4096)
def _kind(character: str) -> int:
    code, category = ord(character), unicodedata.category(character)
    if unicodedata.combining(character) == _VIRAMA:
        return _LINKER
    if category in _EXTENDING:
        return _EXTEND
    if 0xAC00 <= code <= 0xD7A3:
        return _LVT if (code - 0xAC00) % 28 else _LV
    listed = next((kind for first, last, kind in _LISTED if first <= code <= last), None)
    return _by_category(category) if listed is None else listed


def _by_category(category: str) -> int:
    if category in ("Cc", "Cf", "Zl", "Zp"):
        return _CONTROL
    if category[0] == "S" or category == "Cn":
        return _PICTURE
    return _LETTER if category == "Lo" else _OTHER
