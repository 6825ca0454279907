"""Ctrl-C in a command that is within a library's call, which does not hear it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import NoReturn

__all__ = ["INTERRUPTED", "watch"]

INTERRUPTED = 130  # the exit status of a command that Ctrl-C ended, as shells have it
_HEARD_S = 1.5
_SHOW_CURSOR = "\x1b[?25h"


def watch() -> None:
    """Let Ctrl-C end this process at once where Python does not hear of it in 1.5 s, and the second one always.

    For the main thread. Where Ctrl-C is ignored, or the program has a handler of its own, that stays.
    """
    if os.name != "posix" or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    heard = threading.Event()

    def hear(number: int, frame: FrameType | None) -> NoReturn:
        heard.set()
        signal.default_int_handler(number, frame)
        raise AssertionError("default_int_handler raises KeyboardInterrupt")

    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.signal(signal.SIGINT, hear)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=_leave_to_parent)
    threading.Thread(target=_wait, args=(reader, heard), name="edgedistill-interrupt", daemon=True).start()


def _wait(reader: int, heard: threading.Event) -> None:
    """End the process where an interrupt is not heard, or comes a second time."""
    interrupts = 0
    while number := os.read(reader, 1):
        interrupts += number[0] == signal.SIGINT
        if interrupts and (interrupts > 1 or not heard.wait(_HEARD_S)):
            _end()


def _end() -> NoReturn:
    with suppress(OSError, ValueError):
        if sys.stderr.isatty():
            sys.stderr.write(_SHOW_CURSOR)
        sys.stderr.write("edgedistill: interrupted; the same command can be given again\n")
        sys.stderr.flush()
    os._exit(INTERRUPTED)


def _leave_to_parent() -> None:
    """Write a forked process's signals to no pipe of its parent's."""
    with suppress(ValueError):  # not the main thread
        signal.set_wakeup_fd(-1)
