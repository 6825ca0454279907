"""Start an SSH server for this machine's own user, for copies by scp, with keys and a port of its own."""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_START_S = 10.0


@contextmanager
def ssh_server() -> Iterator[list[str] | None]:
    """Yield the options that scp reaches it by; None where this machine has no such programs."""
    program = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if program is None or not shutil.which("scp") or not shutil.which("ssh-keygen"):
        yield None
        return
    with suppress(OSError):
        Path("/run/sshd").mkdir(exist_ok=True)  # for its unprivileged half, where root runs it
    with tempfile.TemporaryDirectory() as name, socket.socket() as taken:
        folder = Path(name)
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        taken.close()
        for key in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
        shutil.copy(folder / "user.pub", folder / "authorized")
        (folder / "config").write_text(
            f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
            "StrictModes no\nUsePAM no\nPidFile none\nSubsystem sftp internal-sftp\nPermitRootLogin prohibit-password\n"
        )
        server = subprocess.Popen([program, "-D", "-e", "-f", folder / "config"], stderr=subprocess.DEVNULL)
        try:
            _wait(port)
            yield [
                *("-P", str(port), "-i", str(folder / "user"), "-o", f"User={getpass.getuser()}"),
                *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"),
            ]
        finally:
            server.terminate()
            server.wait()


def _wait(port: int) -> None:
    end_s = time.monotonic() + _START_S
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if time.monotonic() > end_s:
            raise TimeoutError("the SSH server does not start")
        time.sleep(0.05)
