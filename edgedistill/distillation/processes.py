"""Several processes that train together: what all must decide alike, the first decides."""

from __future__ import annotations

from typing import TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

__all__ = ["as_the_first", "is_first"]

_T = TypeVar("_T")


def as_the_first(value: _T) -> _T:
    """The first process's value; every process has to ask."""
    (first,) = broadcast_object_list([value])
    result: _T = first
    return result


def is_first() -> bool:
    """Whether this process writes and speaks for all."""
    return bool(PartialState().is_main_process)
