"""Serve in forked processes: a fork copies a session's memory, but none of its threads.

A forked process gets the parent's sessions, but not the threads of their pools, and locks that may be held. A run may
wait for those threads for ever, and so may the destructor. So in a forked process nothing of the parent's is used or
freed. Each open session is marked, and makes new ones of its own at its first call. While onnxruntime makes a session,
it may hold locks of the whole process: a fork waits for that, and if it waits in vain, the child's sessions stay
closed.
"""

from __future__ import annotations

import ctypes
import os
import sys
import weakref
from contextlib import suppress
from typing import Any, Protocol

from edgedistill.errors import SessionClosed
from edgedistill.runtime import stopping

__all__ = ["AFTER_FORK", "check_may_load", "leak", "notify_after_fork"]

_WAIT_S = 10.0  # for loads under way
AFTER_FORK = "this text began before a fork; begin it in this process"


class Forkable(Protocol):
    """Something that a fork leaves without its threads."""

    def after_fork(self) -> None:
        """Forget the parent's threads, locks and sessions; called in the child, and quick."""


_open: weakref.WeakSet[Any] = weakref.WeakSet()
_may_load = True


def notify_after_fork(forkable: Forkable) -> None:
    """Call its `after_fork` in every process forked from now on, as long as it is alive."""
    _open.add(forkable)


def leak(*values: object) -> None:
    """Never free these, nor what they hold: freeing the parent's sessions waits for threads that are not there."""
    for value in values:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))


def check_may_load() -> None:
    """Refuse to make sessions where the parent was forked while it made one.

    Raises:
        SessionClosed: it was.
    """
    if not _may_load:
        raise SessionClosed(
            "this process was forked while a session was being loaded; open the palette in the process that uses it "
            "(gunicorn: post_fork)"
        )


def _before() -> None:
    global _may_load_in_child  # noqa: PLW0603 (for the child, which is this process's copy)
    _may_load_in_child = stopping.pause_workers(_WAIT_S)


def _in_child() -> None:
    global _may_load  # noqa: PLW0603 (of the process)
    _may_load = _may_load and _may_load_in_child
    stopping.forget_workers()
    for forkable in list(_open):
        forkable.after_fork()
    if "onnxruntime" in sys.modules:
        # Its own destructors at the end of a process join threads that are the parent's.
        stopping.end_without_destructors()


_may_load_in_child = True
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=stopping.resume_workers, after_in_child=_in_child)
with suppress(AttributeError):
    ctypes.pythonapi.Py_IncRef.argtypes = [ctypes.py_object]
    ctypes.pythonapi.Py_IncRef.restype = None
