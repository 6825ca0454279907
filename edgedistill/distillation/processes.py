"""Let the first of several training processes decide what must be identical in all of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast, broadcast_object_list

from edgedistill.supernet.checkpoint import Supernet

__all__ = ["as_the_first", "is_first", "shared"]

_T = TypeVar("_T")


def as_the_first(value: _T) -> _T:
    """Return the first process's value; every process has to call this."""
    (first,) = broadcast_object_list([value])
    result: _T = first
    return result


def is_first() -> bool:
    """Return whether this process writes and reports for all."""
    return bool(PartialState().is_main_process)


def shared(supernet: Supernet) -> Supernet:
    """Return the first process's supernet: where scores round otherwise, another would order its weights otherwise."""
    if PartialState().num_processes == 1:
        return supernet
    model = supernet.model
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data.copy_(broadcast(tensor.data))
    return replace(supernet, space=as_the_first(supernet.space), teacher=as_the_first(dict(supernet.teacher)))
