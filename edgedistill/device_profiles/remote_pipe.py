"""Exchange bytes with a command on another machine, which may send anything, within limits."""

from __future__ import annotations

import os
import selectors
import subprocess
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from edgedistill.printable import printable

__all__ = ["CONNECTED", "ERROR", "LimitExceeded", "ReceiveLimits", "RemotePipe"]

CONNECTED = "connected"  # the first line of the script that goes in
ERROR = "edgedistill: "
_CHUNK = 1 << 16
_KEPT_LINES = 100


@dataclass(frozen=True, slots=True)
class ReceiveLimits:
    """Bound what another machine may send, far above what `edgedistill profile` sends.

    ``silence_s``: the command writes a line once a minute, but pip downloads 20 MB silently, which takes minutes on a
    slow network.
    """

    total_bytes: int = 16 * 10**6
    line_bytes: int = 64 * 1024
    lines: int = 20_000
    silence_s: float = 600.0


class LimitExceeded(Exception):
    """The other side sent too much, or nothing for too long."""


class RemotePipe:
    """Send the script and, once it runs, ``input_chunks``; collect output and lines of standard error."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        script: bytes,
        input_chunks: Iterable[bytes],
        on_line: Callable[[str], None],
        limits: ReceiveLimits,
    ) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self._feed, self._input_chunks = _Feed(process.stdin, script), input_chunks
        self._on_line, self._limits = on_line, limits
        self._left_bytes, self._left_lines, self._rest = limits.total_bytes, limits.lines, b""
        self.output = bytearray()
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self.is_connected = False

    def pump(self) -> None:
        """Transfer bytes until the other side has closed both its streams.

        Raises:
            LimitExceeded: it sent too much, or nothing for too long.
        """
        with selectors.DefaultSelector() as ready:
            ready.register(self._stdin, selectors.EVENT_WRITE)
            for stream in (self._stdout, self._stderr):
                ready.register(stream, selectors.EVENT_READ)
            while self._stdout in ready.get_map() or self._stderr in ready.get_map():
                events = ready.select(self._limits.silence_s)
                if not events:
                    minutes = self._limits.silence_s / 60
                    raise LimitExceeded(
                        f"it said nothing for {minutes:.3g} minutes; is it stuck? Run the command again"
                    )
                for key, _ in events:
                    if key.fileobj is self._stdin:
                        is_done = not self._feed.step()
                    else:
                        is_done = not self._take(key.fileobj is self._stdout, ready)
                    if is_done:
                        ready.unregister(key.fileobj)

    def _take(self, is_output: bool, ready: selectors.BaseSelector) -> bool:
        """Read once; return whether there may be more."""
        data = os.read((self._stdout if is_output else self._stderr).fileno(), _CHUNK)
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            most_mb = self._limits.total_bytes / 1e6
            raise LimitExceeded(f"it sent more than {most_mb:g} MB, which no profile has; does it run EdgeDistill?")
        if is_output:
            self.output += data
            return bool(data)
        *lines, rest = (self._rest + (data or b"\n")).split(b"\n")
        self._rest = rest[: self._limits.line_bytes]
        for line in filter(None, map(self._readable, lines)):
            self._hear(line, ready)
        return bool(data)

    def _hear(self, line: str, ready: selectors.BaseSelector) -> None:
        self._left_lines -= 1
        if self._left_lines < 0:
            raise LimitExceeded(f"it wrote more than {self._limits.lines:,} lines; does it run EdgeDistill?")
        if line == CONNECTED and not self.is_connected:
            self.is_connected = True
            self._feed.add(self._input_chunks)
            with suppress(KeyError):  # it is still there
                ready.register(self._stdin, selectors.EVENT_WRITE)
        self.lines.append(line)
        if not line.startswith(ERROR):
            self._on_line(line)

    def _readable(self, line: bytes) -> str:
        """Return a line without its box, and with escapes for what could steer a terminal."""
        text = line[: self._limits.line_bytes].decode(errors="replace").rstrip("\r")
        return printable(text.replace("\t", " ")).strip(" ╭╮╰╯│─")


class _Feed:
    """Write as much as the other side accepts, without blocking."""

    def __init__(self, file: IO[bytes], first: bytes) -> None:
        self._file, self._left = file.fileno(), first
        self._chunks: Iterator[bytes] = iter(())
        os.set_blocking(self._file, False)

    def add(self, chunks: Iterable[bytes]) -> None:
        """Continue with these chunks."""
        self._chunks = filter(None, chunks)

    def step(self) -> bool:
        """Write once; return whether there is, or may be, more."""
        self._left = self._left or next(self._chunks, b"")
        if not self._left:
            return False
        try:
            self._left = self._left[os.write(self._file, self._left) :]
        except BrokenPipeError:  # it ended early: its exit status tells
            return False
        return True
