"""Numbers that callers give: a string, a bool or NaN must not pass as one."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from edgedistill.errors import InputError

__all__ = ["checked_deadline", "is_integer", "is_real"]


def is_real(value: Any) -> bool:
    """Return whether it is a real number, numpy's too, but neither a bool nor NaN."""
    return isinstance(value, Real) and not isinstance(value, bool) and not math.isnan(value)


def is_integer(value: Any) -> bool:
    """Return whether it is a whole number, numpy's too, but not a bool."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def checked_deadline(deadline_ms: Any) -> float:
    """Return the deadline as a float; one that has passed is negative.

    Raises:
        InputError: it is not a number.
    """
    if not is_real(deadline_ms):
        raise InputError(f"deadline_ms is {deadline_ms!r}; expected a number of milliseconds, or None for no deadline")
    return float(deadline_ms)
