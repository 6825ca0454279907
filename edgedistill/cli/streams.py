"""The three standard streams as a command has them: closed pipes, full devices, any locale, or none at all."""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterator
from typing import TextIO

from edgedistill.errors import InputError
from edgedistill.utf8 import UTF8

__all__ = ["input_lines", "prepare"]

_CLOSED_PIPE = 141  # as a shell reports a program that SIGPIPE ended


def prepare() -> None:
    """Take the process's streams in hand, unless something else took their place.

    A reader of standard output that has enough ends the command without a word, as it ends `cat`; an output that
    fails otherwise is an error. Standard error fails nothing: what cannot be shown there is dropped.
    """
    _open_missing()
    if sys.stdout is sys.__stdout__:
        sys.stdout = _text(_Output(1, "wb", closefd=False), sys.__stdout__, "backslashreplace")
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(_Messages(2, "wb", closefd=False), sys.__stderr__, "backslashreplace")


def input_lines() -> Iterator[str]:
    """Yield the lines of standard input, which is UTF-8 whatever the locale; other bytes become half surrogates.

    A byte order mark at the very beginning is skipped.

    Raises:
        InputError: it is closed.
    """
    if sys.stdin is None:
        raise InputError("standard input is closed; give texts, or JSON Lines on standard input")
    codec = UTF8
    for line in sys.stdin.buffer:
        yield line.decode(codec, "surrogateescape")
        codec = "utf-8"


def _open_missing() -> None:
    """Fill the places of closed streams, so that no file of ours gets the number of one and is written over."""
    for number, mode in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_RDWR)):  # the first two fail at their use
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)


class _Output(io.FileIO):
    """Standard output: after its first failure it takes, and drops, whatever is left in buffers."""

    _failed = False

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Write as much as the reader takes at once; wait for one that takes nothing now."""
        if self._failed:
            return len(data)
        try:
            while (written := super().write(data)) is None:
                select.select([], [self], [])
        except BrokenPipeError:
            self._failed = True
            raise SystemExit(_CLOSED_PIPE) from None
        except OSError as error:
            self._failed = True
            raise OSError(error.errno, error.strerror, "standard output") from error
        return written


class _Messages(io.FileIO):
    """Standard error, which fails nothing."""

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Write, or drop what cannot be written."""
        try:
            written = super().write(data)
        except OSError:
            written = None
        return len(data) if written is None else written


def _text(raw: io.FileIO, before: TextIO | None, errors: str) -> io.TextIOWrapper:
    """Return a text stream like the one before, in which no character fails."""
    encoding = None if before is None else before.encoding
    is_watched = raw.isatty() or raw.fileno() == 2
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, line_buffering=is_watched)
