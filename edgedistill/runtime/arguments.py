"""Check numbers and lists from callers: a string, a bool or NaN does not pass as a number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from numbers import Integral, Real
from typing import Any

from edgedistill.errors import InputError

__all__ = ["checked_deadline", "checked_items", "is_integer", "is_real"]


def is_real(value: Any) -> bool:
    """Return whether it is a real number, numpy's too, but neither a bool nor NaN."""
    return isinstance(value, Real) and not isinstance(value, bool) and not _is_nan(value)


def _is_nan(value: Any) -> bool:
    """Return whether it is NaN, without a conversion, which fails for a large whole number."""
    return bool(value != value)  # noqa: PLR0124 (NaN alone differs from itself)


def is_integer(value: Any) -> bool:
    """Return whether it is a whole number, numpy's too, but not a bool."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def checked_items(items: Any, what: str, expected: str) -> Iterator[Any]:
    """Return an iterator over a list, a tuple, an array, or anything else that has items in an order.

    Raises:
        InputError: it has no items in an order, such as bytes, a mapping or None.
    """
    try:
        if isinstance(items, bytes | bytearray | Mapping):
            raise TypeError
        return iter(items)
    except TypeError:
        raise InputError(f"{what} is a {type(items).__name__}; expected {expected}") from None


def checked_deadline(deadline_ms: Any) -> float:
    """Return the deadline as a float; one that has passed is negative.

    Raises:
        InputError: it is not a number.
    """
    if not is_real(deadline_ms):
        raise InputError(f"deadline_ms is {deadline_ms!r}; expected a number of milliseconds, or None for no deadline")
    return float(deadline_ms)
