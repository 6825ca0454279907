"""Where the examples' output goes: a reader that has enough, a full device."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import programs
import pytest

ANSWER = "real_time/answer.py"
REDACT = "private/redact.py"


def shell(script: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["bash", "-c", script], capture_output=True, check=False, timeout=programs.WAIT_S)


@pytest.mark.parametrize("program", [ANSWER, REDACT])
def test_a_closed_pipe_is_no_error_and_a_full_device_is_one(program: str, palette: Path, tagger: Path) -> None:
    given = {ANSWER: (palette, "--deadline-ms", 5000), REDACT: ("--min-quality", 0, tagger)}[program]
    command = shlex.join(programs.command(program, *given))
    name = Path(program).stem
    piped = shell(f"yes lamp | head -3 | {command} | true; exit ${{PIPESTATUS[2]}}")
    assert piped.returncode == 141
    full = shell(f"echo lamp | {command} >/dev/full")
    assert full.returncode == 1
    for done, says in ((piped, []), (full, [f"{name}: [Errno 28] No space left on device"])):
        assert b"Traceback" not in done.stderr
        assert b"Exception ignored" not in done.stderr
        assert [line for line in done.stderr.decode().splitlines() if line.startswith(f"{name}: ")] == says
