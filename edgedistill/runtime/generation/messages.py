"""Check the messages of a chat, and turn them into plain data, all that a template may see."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from edgedistill.errors import InputError

__all__ = ["Message", "as_data", "with_strings"]

Message = Mapping[str, Any]
"""A ``role`` ("system", "user", "assistant"), its ``content``, and whatever else the model's template uses.

The content is a text, or a list of parts such as ``{"type": "text", "text": "..."}``.
"""

_REASONING = ("reasoning_content", "thinking", "reasoning")  # the names that a message's reasoning goes by
_EXPECTED = "expected {'role': 'user', 'content': 'a text'}"


def as_data(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return messages as dictionaries, lists, texts and numbers, as transformers hands them to a template.

    Raises:
        InputError: the list is empty, or an item is not a message.
    """
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Sequence) or not len(messages):
        raise InputError("messages are none; expected a list of at least one {'role': ..., 'content': ...}")
    return [_message(message, place) for place, message in enumerate(messages, start=1)]


def with_strings(value: Any, change: Callable[[str, str], str], key: str = "") -> Any:
    """Return data with each text changed, by the text and the key that it is under; but not the keys."""
    if isinstance(value, str):
        return change(value, key)
    if isinstance(value, dict):
        return {name: with_strings(item, change, str(name)) for name, item in value.items()}
    if isinstance(value, list):
        return [with_strings(item, change, key) for item in value]
    return value


def _message(message: Message, place: int) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        raise InputError(f"message {place} is a {type(message).__name__}; {_EXPECTED}")
    data: dict[str, Any] = {}
    for key, value in message.items():
        if value is not None:  # as transformers has it: templates ask whether a key is there
            data[_plain(key, place)] = _plain(value, place)
    has_content = isinstance(data.get("content"), str | list) or ("content" not in data and len(data) > 1)
    if not isinstance(data.get("role"), str) or not has_content:
        raise InputError(f"message {place} is not a message; {_EXPECTED}")
    reasoning = next((data[name] for name in _REASONING if name in data), None)
    return data if reasoning is None else {"thinking": reasoning, **data, "reasoning_content": reasoning}


def _plain(value: Any, place: int, depth: int = 0) -> Any:
    """Return a value as the JSON type that it is, without its class's own methods."""
    if depth > 64:
        raise InputError(f"message {place} is nested too deeply; expected a role and a content")
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return _valid(kind(value), place) if kind is str else kind(value)
    if isinstance(value, Mapping):
        return {_plain(key, place, depth + 1): _plain(item, place, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, place, depth + 1) for item in value]
    raise InputError(f"message {place} holds a {type(value).__name__}; expected texts, numbers, lists and objects")


def _valid(text: str, place: int) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"message {place} is not valid Unicode: half a surrogate pair at {error.start}") from error
    return text
