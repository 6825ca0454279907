"""Names of classes, the same whichever kind of file they were in."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from edgedistill.errors import DataError

__all__ = ["class_name", "is_missing", "name_classes", "plain_names", "without_fractions"]

_WHOLE = re.compile(r"-?(?:0|[1-9]\d*)(\.0+)?")


def is_missing(value: Any) -> bool:
    """Return whether nothing stands there: null, a blank string, or the not-a-number of pandas."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and not value.strip())


def plain_names(label: str) -> str:
    """Return a class's name without blanks around it, composed (NFC): what looks the same is the same."""
    return unicodedata.normalize("NFC", label.strip())


def class_name(value: Any, names: Sequence[str], place: str) -> str:
    """Return the name of a row's class: a string, a whole number, or a place in ``names``.

    Raises:
        DataError: the label is missing, or is none of these.
    """
    if is_missing(value) or (names and value == -1):
        raise DataError(f"{place} has no label; expected a name or a whole number")
    if isinstance(value, str):
        return plain_names(value)
    if names and isinstance(value, int) and not isinstance(value, bool):
        if value < len(names):
            return plain_names(names[value])
        raise DataError(f"{place} has the label {value}; the column names {len(names)} classes, from 0")
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return str(value)
    raise DataError(f"{place} has the label {value!r}; expected a name or a whole number")


def without_fractions(labels: Collection[str]) -> dict[str, str]:
    """Map whole numbers with a fraction of zero to their integers, if all labels are whole numbers.

    A column of integers that had a gap is written by pandas as 1.0, and read from JSON as a float.
    """
    matches = [_WHOLE.fullmatch(label) for label in labels]
    if not all(matches):
        return {}
    return {m[0]: m[0].removesuffix(m[1]) for m in matches if m is not None and m[1] is not None}


def name_classes(names: Sequence[str]) -> Mapping[str, int]:
    """Return each name's number, by the name as it is and as data have it."""
    index = {name: number for number, name in enumerate(names)}
    for number, name in enumerate(names):
        index.setdefault(plain_names(name), number)
    return index
