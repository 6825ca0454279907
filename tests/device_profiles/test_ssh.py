"""Another machine that may be anything: what it says is bounded, and what names it cannot be an option."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgedistill.device_profiles import ssh
from edgedistill.device_profiles.remote_pipe import ReceiveLimits
from edgedistill.errors import InputError, RemoteError

SMALL = ReceiveLimits(total_bytes=300_000, line_bytes=1000, lines=200, silence_s=0.5)
Serve = Callable[[str], None]


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Put a program, in the shell's language, in ssh's place; it writes its arguments to a file."""

    def write(text: str) -> None:
        program = tmp_path / "ssh"
        program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/arguments\n{text}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return write


@pytest.mark.parametrize(
    ("host", "arguments"),
    [
        ("board", ["--", "board"]),
        ("pi@board.local", ["--", "pi@board.local"]),
        ("pi@board:2222", ["-p", "2222", "--", "pi@board"]),
        ("::1", ["--", "::1"]),
        ("fe80::1%eth0", ["--", "fe80::1%eth0"]),
        ("user@[::1]:22", ["-p", "22", "--", "user@::1"]),
        ("[fe80::1%eth0]:65535", ["-p", "65535", "--", "fe80::1%eth0"]),
        ("[::1]", ["--", "::1"]),
        ("ssh://pi@board:2222/", ["-p", "2222", "--", "pi@board"]),
        ("ssh://[::1]", ["--", "::1"]),
        ("a@b@host:1", ["-p", "1", "--", "a@b@host"]),
    ],
)
def test_a_host_as_ssh_takes_it(serve: Serve, tmp_path: Path, host: str, arguments: list[str]) -> None:
    serve("exit 0")
    assert ssh.run(host, "", [], lambda _: None) == b""
    assert (tmp_path / "arguments").read_text().splitlines()[-len(arguments) - 1 : -1] == arguments


@pytest.mark.parametrize(
    "host",
    [
        *("", "-oProxyCommand=touch x", "--", "two words", "user@", "user@-x", "-x@host", "host:", "host:x", "@host"),
        *("[::1", "[host]:22", "[-x]:22", "a:b", "x`id`", "$(id)@host", "host;id", "host\x1b[2J", "h\u202eost", "a/b"),
    ],
)
def test_what_cannot_be_a_host_is_not_tried(serve: Serve, tmp_path: Path, host: str) -> None:
    serve("exit 0")
    with pytest.raises(InputError, match=r"--ssh: got .*, expected a host, user@host"):
        ssh.run(host, "", [], lambda _: None)
    assert not (tmp_path / "arguments").exists()


@pytest.mark.parametrize("port", ["0", "65536", "99999", "999999999"])
def test_ports_that_there_are_not(serve: Serve, port: str) -> None:
    serve("exit 0")
    with pytest.raises(InputError, match=rf"--ssh: got port {port} in 'board:{port}', expected 1 to 65535"):
        ssh.run(f"board:{port}", "", [], lambda _: None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("exec cat /dev/zero", "board: it sent more than 0.3 MB, which no profile has"),
        ("exec cat /dev/zero >&2", "board: it sent more than 0.3 MB, which no profile has"),
        ("yes | head -1000 >&2", "board: it wrote more than 200 lines"),
        ("exec sleep 98765", "board: it said nothing for 0.00833 minutes; is it stuck?"),
        ("echo connected >&2; exec sleep 98765", "board: it said nothing for"),
        ("exec sleep 98765 >&- 2>&-", "board: ssh closed its output, but does not end"),
        ("sleep 98765 & exit 1", "board: it said nothing for"),
        ("printf '%5000s' x >&2; exit 1", "board: "),
    ],
)
def test_a_board_that_does_not_stop_is_left(serve: Serve, does: str, says: str) -> None:
    serve(does)
    start_s = time.monotonic()
    with pytest.raises(RemoteError) as raised:
        ssh.run("board", "", [], lambda _: None, SMALL)
    assert says in str(raised.value)
    assert len(str(raised.value)) < 1200
    assert time.monotonic() - start_s < 20
    leftover = subprocess.run(["pgrep", "-f", "sleep 98765"], capture_output=True, check=False)
    assert leftover.stdout == b""


@pytest.mark.slow
def test_what_is_fed_counts_as_a_sign_of_life(serve: Serve) -> None:
    serve("echo connected >&2; for i in 0 1 2 3 4 5 6 7 8 9; do head -c 100000 >/dev/null; sleep 0.2; done")
    assert ssh.run("board", "", [bytes(100_000)] * 11, lambda _: None, ReceiveLimits(silence_s=1.5)) == b""


def test_the_last_lines_are_kept(serve: Serve) -> None:
    serve("echo connected >&2; seq 150 >&2; echo 'edgedistill: because' >&2; seq 50 >&2; exit 1")
    seen: list[str] = []
    with pytest.raises(RemoteError, match=r"^board: because$"):
        ssh.run("board", "", [], seen.append, ReceiveLimits(silence_s=20))
    assert seen == ["connected", *map(str, range(1, 151)), *map(str, range(1, 51))]


@pytest.mark.slow
def test_an_interrupt_ends_within_two_seconds(serve: Serve) -> None:
    serve("echo connected >&2; trap '' TERM INT; sleep 98765 & wait")

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    start_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        ssh.run("board", "", [], interrupt)
    assert time.monotonic() - start_s < 10  # 1.5 s, on a machine that others use
