"""Decode a stream of token ids into whole characters; the pieces equal the text decoded at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgedistill.errors import PaletteError
from edgedistill.library_errors import is_library_error

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["Detokenizer"]

_UNFINISHED = "\ufffd"
_MAX_HELD = 8  # tokens: a character has at most four bytes, so more will not complete one
_MAX_SILENT = 16  # tokens without text of their own that stay in the window for later ones


class Detokenizer:
    """Decode the tokens that follow a prompt.

    A token's text depends on those before it (only the start of a text lacks a blank), and a character may span several
    tokens. So a window of recent tokens is decoded with and without the new one. The difference is new text, once it
    does not end within a character.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._window = list(prompt)
        self._decoded_tokens = len(self._window)  # of the window, those whose text was returned
        self._text = self._decoded(self._window)

    def add(self, token: int) -> str:
        """Return the text that this token completes; empty within a character."""
        self._window.append(token)
        text = self._decoded(self._window)
        if text.endswith(_UNFINISHED) and len(self._window) - self._decoded_tokens < _MAX_HELD:
            return ""
        new = text[len(self._text) :]
        if new or len(self._window) > _MAX_SILENT:  # few: after a run each costs a search in uncached memory
            self._window = self._window[self._decoded_tokens :]
            text = self._decoded(self._window)
        self._decoded_tokens, self._text = len(self._window), text
        return new

    def rest(self) -> str:
        """Return the text held back for an incomplete character, without that character."""
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
