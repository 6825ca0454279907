"""Ctrl-C ends a command, whatever it is within."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny_palette
from looping import bottomless, looping

_WITHIN_S = 10.0  # 2 s on a quiet machine, and room for a busy one


def _started(arguments: list[str], announce: str) -> subprocess.Popen[str]:
    """Start Python, and wait until it says this on standard output."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if line != f"{announce}\n":
        process.kill()
        raise AssertionError(f"{line!r}\n{process.communicate()[1]}")
    return process


def _ended(process: subprocess.Popen[str], interrupts: int = 1) -> str:
    """Interrupt it, and return what it said on standard error."""
    time.sleep(0.3)
    for _ in range(interrupts):
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    try:
        _, errors = process.communicate(timeout=_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return errors


_COMMAND = """
import sys
import onnxruntime
make = onnxruntime.InferenceSession
def announced(*args, **options):
    print("begun", flush=True)
    return make(*args, **options)
onnxruntime.InferenceSession = announced
from edgedistill.cli import main
sys.argv[0] = "edgedistill"
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("command", [["verify"], ["run", "TEXT"], ["run"]], ids=" ".join)
@pytest.mark.parametrize("endless", [looping, bottomless])
def test_ctrl_c_ends_a_command_on_a_graph_that_never_ends(tmp_path: Path, command: list[str], endless: object) -> None:
    folder = endless(tiny_palette.write(tmp_path / "palette"))  # type: ignore[operator]
    process = _started(["-c", _COMMAND, command[0], str(folder), *command[1:]], "begun")
    errors = _ended(process)
    assert process.returncode == 130, errors
    assert errors.splitlines()[-1].startswith("edgedistill: interrupted;")
    assert "Traceback" not in errors


_WITHIN_A_CALL = """
import sys
import numpy as np
from edgedistill.cli import interrupts
from edgedistill.runtime.onnx import create_session
interrupts.watch()
session = create_session(sys.argv[1], 1)
print("begun", flush=True)
session.run(None, {node.name: np.ones((1, 2), np.int64) for node in session.get_inputs()})
"""


@pytest.mark.slow
def test_ctrl_c_ends_a_command_within_a_call_that_does_not_hear_it(tmp_path: Path) -> None:
    folder = looping(tiny_palette.write(tmp_path / "palette"))
    process = _started(["-c", _WITHIN_A_CALL, str(folder / "small.onnx")], "begun")
    errors = _ended(process)
    assert process.returncode == 130
    assert errors == "edgedistill: interrupted; the same command can be given again\n"


_TIDIES_FOR_EVER = """
import signal, time
from edgedistill.cli import interrupts
interrupts.watch()
print("begun", flush=True)
try:
    time.sleep(1000)
except KeyboardInterrupt:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        time.sleep(1000)
    finally:
        time.sleep(1000)
"""


def test_the_second_ctrl_c_ends_what_still_tidies_up_after_the_first() -> None:
    process = _started(["-c", _TIDIES_FOR_EVER], "begun")
    _ended(process, interrupts=2)
    assert process.returncode == 130


_FORKS = """
import os, signal, time
from edgedistill.cli import interrupts
interrupts.watch()
child = os.fork()
if child == 0:
    signal.signal(signal.SIGINT, lambda *_: None)
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)
    os._exit(0)
os.waitpid(child, 0)
time.sleep(0.2)
print("begun", flush=True)
try:
    time.sleep(1000)
except KeyboardInterrupt:
    print("heard", flush=True)
    raise SystemExit(5)
"""


def test_a_forked_process_s_signals_are_its_own() -> None:
    process = _started(["-c", _FORKS], "begun")
    assert process.poll() is None, "the child's two interrupts are not this process's"
    _ended(process)
    assert process.returncode == 5


def test_where_ctrl_c_is_ignored_it_stays_so(tmp_path: Path) -> None:
    code = "import signal; from edgedistill.cli import interrupts; interrupts.watch(); print(signal.getsignal(2) == 1)"
    ignored = "import os, signal, sys; signal.signal(2, signal.SIG_IGN); os.execv(sys.executable, sys.argv[1:])"
    command = [sys.executable, "-c", ignored, sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout == "True\n"
