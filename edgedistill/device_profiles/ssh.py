"""Run a shell script on another machine by the system's own ``ssh``, with its configuration, keys and agent."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterable
from contextlib import suppress

from edgedistill.device_profiles.remote_pipe import CONNECTED, ERROR, LimitExceeded, ReceiveLimits, RemotePipe
from edgedistill.errors import InputError, RemoteError
from edgedistill.printable import printable

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
_FAILED = 255  # of ssh itself
_PATIENCE_S = 1.5  # for the other side to clean up; it goes on with that when we are gone
_SHOWN_CHARACTERS = 1000  # of a line in an error
_HOST = re.compile(
    r"(?:(?P<user>[^-]\S*)@)?"
    r"(?:\[(?P<address>[0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|(?P<name>[^-:@\[][^:@]*|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[^:@]*))"
    r"(?::(?P<port>[0-9]{1,9}))?"
)
_NO_HOST = re.compile(r"""[\s'"`;&<>|(){}/]""")  # what a shell could take for more, in a configuration of ssh
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


_LIMITS = ReceiveLimits()


def run(
    host: str,
    script: str,
    input_chunks: Iterable[bytes],
    on_line: Callable[[str], None],
    limits: ReceiveLimits = _LIMITS,
) -> bytes:
    """Run ``script``, for `sh`, on ``host``; return its standard output.

    ``input_chunks`` is its standard input, which stays open as long as this call runs. ``on_line`` gets the lines of
    its standard error; the last one that begins with "edgedistill: " is the reason of a failure.

    Raises:
        InputError: ``host`` is not valid.
        RemoteError: the connection failed or was cut, the script failed, or the other side sent nothing or too much;
            the message is one line with ``host`` and the reason.
    """
    whole = f"echo {CONNECTED} >&2\n{script}".encode()
    destination = _destination(host)
    command = ["ssh", *(f"-o{option}" for option in _OPTIONS), *destination, _COMMAND.format(len(whole))]
    with _started(command) as process:
        pipe = RemotePipe(process, whole, input_chunks, on_line, limits)
        try:
            pipe.pump()
            process.wait(limits.silence_s)
        except LimitExceeded as error:
            _terminate(process)
            raise RemoteError(f"{host}: {error}") from None
        except subprocess.TimeoutExpired:
            _terminate(process)
            raise RemoteError(f"{host}: ssh closed its output, but does not end") from None
        except BaseException:
            _terminate(process)
            raise
        if process.returncode != 0:
            raise RemoteError(f"{host}: {_reason(_as_typed(destination), process.returncode, pipe)}")
        for warning in (line for line in pipe.lines if line.startswith(ERROR)):
            on_line(warning)
        return bytes(pipe.output)


def _destination(host: str) -> list[str]:
    """Return ssh's arguments for a host; its ssh:// form does not accept an IPv6 address with a port."""
    plain = host.removeprefix("ssh://").removesuffix("/") if host.startswith("ssh://") else host
    parts = _HOST.fullmatch(plain)
    if parts is None or _NO_HOST.search(plain) or printable(plain) != plain or plain.startswith("-"):
        raise InputError(f"--ssh: got {host!r}, expected a host, user@host, user@host:port or a Host of ~/.ssh/config")
    name = parts["address"] or parts["name"]
    port = parts["port"]
    if port is not None and not 1 <= int(port) <= 65_535:
        raise InputError(f"--ssh: got port {port} in {host!r}, expected 1 to 65535")
    user = "" if parts["user"] is None else f"{parts['user']}@"
    return [*(["-p", port] if port else []), "--", f"{user}{name}"]


def _as_typed(destination: list[str]) -> str:
    """Return what a user types after ``ssh`` to connect."""
    return " ".join(part for part in destination if part != "--")


def _started(command: list[str]) -> subprocess.Popen[bytes]:
    try:
        # A session of its own: Ctrl-C is for us, who then give the other side the time to clean up.
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise RemoteError("no ssh on this machine; install OpenSSH's client (openssh-client)") from error


def _terminate(process: subprocess.Popen[bytes]) -> None:
    """Close standard input, so that the script notices, give it a moment to clean up, and kill ssh."""
    assert process.stdin is not None
    try:
        process.stdin.close()
        process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with suppress(OSError):  # and what it may have started, such as a ProxyCommand
            os.killpg(process.pid, signal.SIGKILL)


def _reason(host: str, code: int, pipe: RemotePipe) -> str:
    lines = list(pipe.lines)
    last = _short(lines[-1]) if lines else f"it ended with status {code}"
    if code != _FAILED and code > 0:
        errors = [line for line in lines if line.startswith(ERROR)]
        return _short((errors or [last])[-1].removeprefix(ERROR))
    if pipe.is_connected:
        return "the connection was lost before the end, and nothing was kept; run the command again"
    for sign, advice in _CAUSES:
        line = next((line for line in lines if sign in line), None)
        if line is not None:
            return advice.format(host=host, line=_short(line))
    return f"no connection: {last}"


def _short(line: str) -> str:
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[:_SHOWN_CHARACTERS]}..."
