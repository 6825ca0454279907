"""A shell script on another machine, by the system's own ``ssh``: its configuration, keys and agent count."""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import IO

from edgedistill.errors import InputError, RemoteError

__all__ = ["run"]

_OPTIONS = (
    "BatchMode=yes",  # nothing waits for a password
    "ConnectTimeout=15",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=3",
    "LogLevel=ERROR",
    # What a user's configuration may have for shells, which this is not.
    "ClearAllForwardings=yes",
    "ControlMaster=no",
    "RemoteCommand=none",
    "RequestTTY=no",
)
# The same in every login shell: the script comes on standard input. A shell that reads it there by itself, or `head`,
# would take more than the script.
_COMMAND = """exec sh -c 'eval "$(dd bs=1 count={} 2>/dev/null)"'"""
_CONNECTED = "connected"
_FAILED = 255  # of ssh itself
_PATIENCE_S = 10.0
_ERROR = "edgedistill: "
_CAUSES = (
    ("HOST IDENTIFICATION HAS CHANGED", "its host key has changed; find out why, then run 'ssh {host}' once by hand"),
    (
        "Host key verification failed",
        "its host key is not known here; run 'ssh {host}' once by hand, and say yes to it",
    ),
    ("Could not resolve hostname", "no such host; expected a name, an address or a Host of ~/.ssh/config"),
    ("Permission denied", "it takes none of your keys; 'ssh-copy-id {host}' gives it one ({line})"),
    (
        "Connection refused",
        "no SSH server answers there; is it switched on in the board's settings, is the port right?",
    ),
    ("timed out", "no answer; is the board on, and in this network?"),
    ("No route to host", "no way to it; is the board on, and in this network?"),
)


def run(host: str, script: str, given: Iterable[bytes], on_line: Callable[[str], None]) -> bytes:
    """Run ``script``, for `sh`, on ``host``; what it wrote on standard output.

    Its standard input is ``given``, and stays open as long as we are there. ``on_line`` gets the lines of its standard
    error; the last one that begins with "edgedistill: " tells why it failed.

    Raises:
        InputError: ``host`` cannot be one.
        RemoteError: no connection, or it was cut, or the script failed; ``host`` and the reason in one line.
    """
    whole = f"echo {_CONNECTED} >&2\n{script}".encode()
    destination = _destination(host)
    command = ["ssh", *(f"-o{option}" for option in _OPTIONS), "--", destination, _COMMAND.format(len(whole))]
    lines: list[str] = []
    with tempfile.TemporaryFile() as answer, _started(command, answer) as process:
        try:
            for line in _lines(process, whole, given):
                lines.append(line)
                if not line.startswith(_ERROR):
                    on_line(line)
            process.wait()
        except BaseException:
            _let_go(process)
            raise
        if process.returncode != 0:
            raise RemoteError(f"{host}: {_reason(destination, process.returncode, lines)}")
        for warning in (line for line in lines if line.startswith(_ERROR)):
            on_line(warning)
        answer.seek(0)
        return answer.read()


def _destination(host: str) -> str:
    """As ``ssh`` takes it: with a port it is a URI."""
    if not re.fullmatch(r"[^\s-]\S*", host):
        raise InputError(f"--ssh: got {host!r}, expected a host, user@host, user@host:port or a Host of ~/.ssh/config")
    return f"ssh://{host}" if re.fullmatch(r"([^@]+@)?(\[[^]]+\]|[^:]+):\d+", host) else host


def _started(command: list[str], answer: IO[bytes]) -> subprocess.Popen[bytes]:
    try:
        # A session of its own: Ctrl-C is for us, who then give the other side the time to clean up.
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=answer, stderr=subprocess.PIPE, bufsize=0, start_new_session=True
        )
    except FileNotFoundError as error:
        raise RemoteError("no ssh on this machine; install OpenSSH's client (openssh-client)") from error


def _lines(process: subprocess.Popen[bytes], script: bytes, given: Iterable[bytes]) -> Iterator[str]:
    """The lines of its standard error, while the script and, once it runs, ``given`` go into its standard input."""
    assert process.stdin is not None
    assert process.stderr is not None
    feed, rest = _Feed(process.stdin, script), b""
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdin, selectors.EVENT_WRITE)
        ready.register(process.stderr, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fileobj is process.stdin:
                    if not feed.step():
                        ready.unregister(process.stdin)
                    continue
                data = os.read(key.fd, 1 << 16)
                *lines, rest = (rest + (data or b"\n")).split(b"\n")
                for line in filter(None, map(_readable, lines)):
                    if line == _CONNECTED:
                        feed.add(given)
                        with suppress(KeyError):  # it is still there
                            ready.register(process.stdin, selectors.EVENT_WRITE)
                    yield line
                if not data:
                    return


class _Feed:
    """Writes as much as the other side takes, without waiting."""

    def __init__(self, file: IO[bytes], first: bytes) -> None:
        self._file, self._left = file.fileno(), first
        self._given: Iterator[bytes] = iter(())
        os.set_blocking(self._file, False)

    def add(self, given: Iterable[bytes]) -> None:
        """Go on with these."""
        self._given = filter(None, given)

    def step(self) -> bool:
        """Write once; whether there is, or may be, more."""
        self._left = self._left or next(self._given, b"")
        if not self._left:
            return False
        try:
            self._left = self._left[os.write(self._file, self._left) :]
        except BrokenPipeError:  # it ended early: its exit status tells
            return False
        return True


def _readable(line: bytes) -> str:
    """Without what could steer a terminal, and without a box around it."""
    return "".join(letter for letter in line.decode(errors="replace") if letter.isprintable()).strip(" ╭╮╰╯│─")


def _let_go(process: subprocess.Popen[bytes]) -> None:
    """End standard input, by which the script learns that nobody waits, and wait for it to clean up."""
    assert process.stdin is not None
    try:
        process.stdin.close()
        process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        process.kill()


def _reason(destination: str, code: int, lines: list[str]) -> str:
    last = lines[-1] if lines else f"it ended with status {code}"
    if code != _FAILED and code > 0:
        errors = [line for line in lines if line.startswith(_ERROR)]
        return (errors or [last])[-1].removeprefix(_ERROR)
    if _CONNECTED in lines:
        return "the connection was lost before the end, and nothing was kept; run the command again"
    for sign, advice in _CAUSES:
        line = next((one for one in lines if sign in one), None)
        if line is not None:
            return advice.format(host=destination, line=line)
    return f"no connection: {last}"
