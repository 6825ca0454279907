"""Running the examples as their readers do: each in a process of its own."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
from types import ModuleType
from typing import Any

import readme

EXAMPLES = readme.ROOT / "examples"
WAIT_S = 60.0


def command(program: str, *arguments: object) -> list[str]:
    """What starts an example with these arguments."""
    return [sys.executable, str(EXAMPLES / program), *map(str, arguments)]


def run(program: str, *arguments: object, stdin: bytes = b"", **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run one to its end."""
    whole = command(program, *arguments)
    return subprocess.run(whole, input=stdin, capture_output=True, check=False, timeout=WAIT_S, **options)


def start(program: str, *arguments: object) -> subprocess.Popen[bytes]:
    """Start one; a context manager."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command(program, *arguments), **pipes)  # type: ignore[call-overload, no-any-return]


def module(program: str) -> ModuleType:
    """An example, imported."""
    spec = importlib.util.spec_from_file_location(f"example_{EXAMPLES.joinpath(program).stem}", EXAMPLES / program)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def one_line(done: subprocess.CompletedProcess[bytes], says: str) -> None:
    """Fail unless it ended with one line of error that says this."""
    assert done.returncode == 1
    name = done.args[1].rpartition("/")[2].removesuffix(".py")
    errors = [line for line in done.stderr.decode().splitlines() if line.startswith(f"{name}: ")]
    assert len(errors) == 1, done.stderr
    assert says in errors[0]
    assert b"Traceback" not in done.stderr


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
