"""Several processes that train together: what all must hold alike, the first decides."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast, broadcast_object_list

from edgedistill.supernet.checkpoint import Supernet

__all__ = ["as_the_first", "is_first", "shared"]

_T = TypeVar("_T")


def as_the_first(value: _T) -> _T:
    """The first process's value; every process has to ask."""
    (first,) = broadcast_object_list([value])
    result: _T = first
    return result


def is_first() -> bool:
    """Whether this process writes and speaks for all."""
    return bool(PartialState().is_main_process)


def shared(supernet: Supernet) -> Supernet:
    """The first process's: where scores round otherwise, another would order its weights otherwise."""
    if PartialState().num_processes == 1:
        return supernet
    model = supernet.model
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data.copy_(broadcast(tensor.data))
    return replace(supernet, space=as_the_first(supernet.space), teacher=as_the_first(dict(supernet.teacher)))
