"""A board for tests: this machine, behind an OpenSSH server of its own on a free port.

The user's side is a folder with an `ssh` to be first on the path, which is the system's with a configuration of ours.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from programs import free_port

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
SSH = shutil.which("ssh")
USER = pwd.getpwuid(os.getuid()).pw_name
COMMANDS = Path(sys.executable).parent
WAIT_S = 20.0

_SERVER = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
PidFile none
AuthorizedKeysFile {folder}/user.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
SetEnv {environment}
"""
_USER = """\
Host board
  HostName 127.0.0.1
  Port {port}
Host *
  User {user}
  IdentityFile {folder}/user
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile {folder}/known
  GlobalKnownHostsFile /dev/null
"""


@dataclass(frozen=True)
class Board:
    """``folder`` has its keys, and ``home`` and ``tmp`` of the board's side. ``bin``: the user's `ssh`."""

    folder: Path
    port: int
    server: subprocess.Popen[bytes]

    @property
    def tmp(self) -> Path:
        """Where the board has its temporary folders."""
        return self.folder / "tmp"

    @property
    def bin(self) -> Path:
        """The folder with the user's `ssh`."""
        return self.folder / "bin"

    def processes(self) -> list[psutil.Process]:
        """All that runs on it, its server's own among them."""
        return psutil.Process(self.server.pid).children(recursive=True)

    def cut(self) -> None:
        """End its connections at once, as a cable does, seen from the board."""
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                if process.name().startswith("sshd"):
                    process.kill()

    def wait_for(self, word: str) -> None:
        """Until a process with that word on its command line runs there."""
        _wait(lambda: any(word in " ".join(_command(one)) for one in self.processes()), f"no {word}")

    def left(self) -> list[object]:
        """What lies in its folder for temporary files, and what was started there and still runs."""
        ours = [one for one in psutil.process_iter() if _environment(one).get("TMPDIR", "").startswith(str(self.tmp))]
        return [*self.tmp.iterdir(), *ours]

    def wait_until_empty(self) -> None:
        """Until nothing is left there."""
        _wait(lambda: not self.left(), "something was left behind")


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has ended, or is of somebody else
        return []


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}


def _wait(true: Callable[[], bool], otherwise: str) -> None:
    end = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end, otherwise
        time.sleep(0.02)


@contextmanager
def board(folder: Path, **environment: object) -> Iterator[Board]:
    """One that answers. ``environment``: variables of its side, beside or instead of those that it has.

    Skips the test where no OpenSSH server can be started.
    """
    if SSHD is None or SSH is None:
        pytest.skip("needs OpenSSH's server and client")
    for name in ("home", "tmp", "bin"):
        (folder / name).mkdir(parents=True)
    for key in ("host", "user"):
        make_key(folder / key)
    port = free_port()
    known = {"HOME": folder / "home", "TMPDIR": folder / "tmp", "PATH": f"{COMMANDS}:{os.environ['PATH']}"}
    variables = " ".join(f"{name}={value}" for name, value in (known | environment).items())
    (folder / "server").write_text(_SERVER.format(folder=folder, port=port, environment=variables))
    (folder / "config").write_text(_USER.format(folder=folder, port=port, user=USER))
    (folder / "bin" / "ssh").write_text(f'#!/bin/sh\nexec {SSH} -F {folder}/config "$@"\n')
    (folder / "bin" / "ssh").chmod(0o755)
    know(folder, port, folder / "host.pub")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # its service would make it
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "server"], stderr=log)
    try:
        _wait_for_the_server(server, port, folder)
        yield Board(folder, port, server)
    finally:
        server.kill()
        server.wait()


def make_key(path: Path) -> None:
    """A new pair of keys."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)


def know(folder: Path, port: int, key: Path) -> None:
    """Let the user's side know this key, and no other, as the board's."""
    (folder / "known").write_text(f"[127.0.0.1]:{port} {key.read_text()}")


def _wait_for_the_server(server: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    pytest.skip(f"no OpenSSH server starts here: {(folder / 'log').read_text().strip()}")
