"""Refuse prompts that exceed the context before all of them is encoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgedistill.errors import InputError
from edgedistill.runtime.text.tokenization import encoded

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["check_length", "too_long"]

_CHARACTERS_A_TOKEN = 64  # of a long token
_LAST_TOKENS = 64  # at the end of a part, which might merge with the text after it


def check_length(tokenizer: Tokenizer, text: str, context: int) -> None:
    """Refuse a text whose start alone is too long, so that a huge text costs no more than a long one.

    Raises:
        InputError: the text is too long.
    """
    start = text[: context * _CHARACTERS_A_TOKEN]
    if len(start) == len(text):
        return
    tokens = len(encoded(tokenizer, start, what="the prompt", add_special_tokens=False).ids) - _LAST_TOKENS
    if tokens >= context:
        raise too_long(f"more than {tokens}", context)


def too_long(tokens: int | str, context: int) -> InputError:
    """Return the error of a prompt that leaves no room for an answer."""
    return InputError(f"the prompt has {tokens} tokens; the model takes {context} together with the answer: shorten it")
