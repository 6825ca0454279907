"""The standard streams of a command: closed pipes, full devices, closed ones, other locales."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import tiny_palette

from edgedistill.cli import terminal_progress
from edgedistill.cli.streams import _Messages, _Output
from edgedistill.workflows.progress import ProgressEvent

FULL = Path("/dev/full")
DOES = "standard output: No space left on device; free space or permissions may be missing"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_palette.write(tmp_path_factory.mktemp("streams") / "palette")


def shell(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a script in which ``e`` is the program; its status is that of the first command of a pipe."""
    program = f'e() {{ "{sys.executable}" -m edgedistill "$@"; }}\n'
    return subprocess.run(
        ["bash", "-c", program + script],
        env=os.environ | {"P": str(folder)} | environment,
        capture_output=True,
        check=False,
        timeout=120,
    )


def test_a_reader_that_has_enough_ends_the_output_without_a_word() -> None:
    reader, writer = os.pipe()
    output = _Output(writer, "wb")
    assert output.write(b"one") == 3
    os.close(reader)
    with pytest.raises(SystemExit) as ended:
        output.write(b"two")
    assert ended.value.code == 141
    assert output.write(b"what buffers hold") == 17  # at the exit, where nobody could hear of it
    output.close()


def test_a_reader_that_takes_its_time_gets_everything() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    program = [sys.executable, "-c", "import sys; print(len(sys.stdin.buffer.read()))"]
    with subprocess.Popen(program, stdin=reader, stdout=subprocess.PIPE) as counts:
        os.close(reader)
        with _Output(writer, "wb") as output:
            left = bytes(1 << 20)
            while left:
                left = left[output.write(left) :]
        assert counts.communicate(timeout=60)[0] == b"1048576\n"


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_full_device_fails_the_output_once_and_messages_never() -> None:
    with _Output(os.open(FULL, os.O_WRONLY), "wb") as output:
        with pytest.raises(OSError, match=r"No space left on device: 'standard output'"):
            output.write(b"one")
        assert output.write(b"two") == 3
    with _Messages(os.open(FULL, os.O_WRONLY), "wb") as messages:
        assert messages.write(b"one") == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "code", "says"),
    [
        ('yes \'{"text": "lamp"}\' | head -500 | e run $P | head -1; exit ${PIPESTATUS[2]}', 141, ""),
        ("e --help | true; exit ${PIPESTATUS[0]}", 141, ""),
        ("e devices --json >/dev/full", 1, DOES),
        ("e --help >/dev/full", 1, DOES),
        ("e devices pi5 >&-", 1, "standard output: Bad file descriptor"),
        ("e run $P <&-", 1, "standard input is closed; give texts, or JSON Lines on standard input"),
        ("e devices pi5 2>&- >/dev/null", 0, ""),
        ("e inspect nowhere 2>/dev/full", 1, ""),
        ("e verify $P 2> >(true) >/dev/null", 0, ""),
        ('env -u HOME TERM=dumb NO_COLOR=1 COLUMNS=20 "$0" -m edgedistill inspect $P >/dev/null', 0, ""),
    ],
)
def test_where_the_streams_go(folder: Path, script: str, code: int, says: str) -> None:
    done = shell(script.replace('"$0"', sys.executable), folder)
    errors = [line for line in done.stderr.decode().splitlines() if "no profile of this machine" not in line]
    assert done.returncode == code, errors
    assert (len(errors), says in "".join(errors)) == (int(bool(says)), True), errors


@pytest.mark.slow
def test_json_lines_are_utf8_whatever_the_locale(folder: Path) -> None:
    texts = ["café ☕", "lamp"]
    given = (
        "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts).encode() + b'{"text":"\xff"}\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "edgedistill", "run", folder],
        input=given,
        env=os.environ | {"PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=False,
    )
    records = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert [record["text"] for record in records] == [*texts, "?"]
    assert ["error" in record for record in records] == [False, False, True]
    assert done.returncode == 1


@pytest.mark.slow
def test_a_table_and_an_argument_where_the_locale_is_ascii(folder: Path) -> None:
    done = shell(
        "e run $P 'café ☕'; e run $P 'café ☕' --json", folder, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"
    )
    *table, line = done.stdout.decode("utf-8").splitlines()
    assert all(row.isascii() for row in table)
    assert "| caf? ?? |" in "".join(table)
    assert json.loads(line)["text"] == "café ☕"


def test_where_nobody_watches_progress_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = threading.Event()
    monkeypatch.setattr(terminal_progress, "LINE_EVERY_S", 0.01)
    monkeypatch.setattr(terminal_progress.console, "print", lambda line: (lines.append(line), told.set()))
    lines: list[object] = []
    shown = terminal_progress.TerminalProgress()
    shown(ProgressEvent(kind="started", text="profiling", total=1))
    shown(ProgressEvent(kind="advanced", text="profiling", done=12, total=1000))
    assert told.wait(30)
    shown(ProgressEvent(kind="failed", text="profiling", done=12, total=1000))
    assert set(lines) <= {"profiling: 0 of 1", "profiling: 12 of 1,000"}
