"""Read one value of a record as a text, as words, as a number or as classes, whichever kind of file it is from."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Sequence
from typing import Any

from edgedistill.errors import DataError
from edgedistill.tasks.labels import class_name, is_missing

__all__ = [
    "RawLabel",
    "Text",
    "parse_class",
    "parse_list",
    "parse_number",
    "parse_tags",
    "parse_text",
    "parse_words",
    "shown_value",
]

Text = str | tuple[str, ...]
"""A text, a pair of them, or the words of one."""
RawLabel = str | float | tuple[str, ...]
"""A class's name, a number, or several classes' names: of each word, or all that a text has."""
_LARGEST = (2 - 2**-23) * 2.0**127  # of fp32, which models answer in

_LIST_LIKE = (("['", "']"), ('["', '"]'), ("['", '"]'), ('["', "']"))
_MAX_SHOWN = 60


def parse_text(value: Any, place: str) -> str:
    """Return a text; a number is the text that CSV would have for it.

    Raises:
        DataError: it is missing, blank, or not a text.
    """
    if is_missing(value):
        raise DataError(f"{place} has no text; expected a string that is not blank")
    if not isinstance(value, str | int | float):
        kind = type(value).__name__
        raise DataError(f"{place} has the text {shown_value(value)}, a {kind}; expected a string")
    return _encodable(str(value), "text", place)


def _encodable(text: str, what: str, place: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place} has a {what} that no UTF-8 can hold: half of a character (a lone surrogate)"
        ) from error
    if "\0" in text:
        raise DataError(f"{place} has a {what} with a NUL character; take it out")
    return text


def shown_value(value: Any) -> str:
    """Return a value as a message shows it, cut short."""
    shown = repr(value)
    return shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}..."


def parse_words(value: Any, what: str, place: str) -> tuple[str, ...]:
    """Return a list of strings, or those of a string: written as a list, or with blanks in between.

    Raises:
        DataError: it is not a list of strings, or a string is blank; ``what`` names one of them.
    """
    words = parse_list(value, what, place) if isinstance(value, str) else value
    if not isinstance(words, list) or not words:
        raise DataError(f"{place} has no list of {what}s; expected strings in a list, or with blanks in between")
    for word in words:
        if not isinstance(word, str) or not word.strip():
            raise DataError(f"{place} has the {what} {word!r}; expected strings that are not blank")
        _encodable(word, what, place)
    return tuple(words)


def parse_list(text: str, what: str, place: str) -> list[Any]:
    """Read a list as JSON or Python writes it in a field of CSV; else divide the text at blanks.

    Raises:
        DataError: it is almost a list; ``what`` names one of its strings.
    """
    stripped = text.strip()
    if not (stripped.startswith("[") and stripped.endswith("]")):
        return text.split()
    for parse in (json.loads, _python_list):
        try:
            words = parse(stripped)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(words, list) and all(
            isinstance(word, str) or (what != "word" and type(word) is int) for word in words
        ):
            return words
    if what != "word" or any(stripped.startswith(begin) and stripped.endswith(end) for begin, end in _LIST_LIKE):
        raise DataError(
            f"{place} has the {what}s {shown_value(text)}, which is not a list as JSON writes it; "
            f'expected ["a", "b"], or {what}s with blanks in between'
        )
    return text.split()


def _python_list(text: str) -> Any:
    """Read what Python's own repr of a list wrote, and nothing else: in "['a' 'b']" of NumPy a comma is missing."""
    value = ast.literal_eval(text)
    if repr(value) != text:
        raise ValueError
    return value


def parse_class(value: Any, names: Sequence[str], place: str) -> str:
    """Return the name of a row's class.

    Raises:
        DataError: the label is missing, or is not a class.
    """
    return _encodable(class_name(value, names, place), "label", place)


def parse_tags(value: Any, names: Sequence[str], words: int, place: str) -> tuple[str, ...]:
    """Return a class for each of a number of words.

    Raises:
        DataError: it is not a list of classes, or of another number.
    """
    if isinstance(value, str):
        value = parse_list(value, "tag", place)
    if isinstance(value, list):
        value = [tag if tag is None else class_name(tag, names, place) for tag in value]
    tags = parse_words(value, "tag", place)
    if len(tags) != words:
        raise DataError(f"{place} has {len(tags)} tags for {words} words; expected one for each")
    return tags


def parse_number(value: Any, place: str) -> float:
    """Return a label that is a number.

    Raises:
        DataError: it is not a finite number that fp32 holds.
    """
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or (isinstance(value, str) and "_" in value):
        raise DataError(f"{place} has the label {value!r}; expected a finite number")
    if abs(number) > _LARGEST:
        raise DataError(f"{place} has the label {value!r}; expected a number that fp32 holds, at most {_LARGEST:.3g}")
    return number
