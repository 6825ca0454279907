"""Token ids to text while they come: whole characters only, and what comes is what the whole would have been."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgedistill.errors import PaletteError
from edgedistill.library_errors import is_library_error

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["Detokenizer"]

_UNFINISHED = "\ufffd"
_MOST_HELD = 8  # tokens: a character has four bytes at most, so these will be none
_MOST_SILENT = 16  # tokens that are kept for those behind them, although they have no text of their own


class Detokenizer:
    """The text of tokens that follow a prompt.

    A token's text depends on those before it (a blank that only a text's beginning lacks), and a character may take
    several tokens. So the end of what is known is decoded with the new token and without, and the difference is new,
    once it does not end within a character.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._window = list(prompt)
        self._known = len(self._window)  # of the window, those whose text was given
        self._text = self._decoded(self._window)

    def add(self, token: int) -> str:
        """The text that is whole with this token; empty while it is within a character."""
        self._window.append(token)
        text = self._decoded(self._window)
        if text.endswith(_UNFINISHED) and len(self._window) - self._known < _MOST_HELD:
            return ""
        new = text[len(self._text) :]
        if new or len(self._window) > _MOST_SILENT:  # few: after a run each is a search in memory that is not cached
            self._window = self._window[self._known :]
            text = self._decoded(self._window)
        self._known, self._text = len(self._window), text
        return new

    def rest(self) -> str:
        """What was held back for a character that never became whole, without that character."""
        return self._decoded(self._window)[len(self._text) :].rstrip(_UNFINISHED)

    def _decoded(self, ids: list[int]) -> str:
        try:
            return str(self._tokenizer.decode(ids, skip_special_tokens=True))
        except BaseException as error:
            if not is_library_error(error):
                raise
            raise PaletteError(
                f"the tokenizer cannot decode its own tokens: {error}; export the palette again"
            ) from error
