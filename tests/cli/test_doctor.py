"""``doctor`` on this machine, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import tiny_palette
from commands import invoke, one_line


@pytest.mark.slow
def test_this_machine_with_a_palette(tmp_path: Path) -> None:
    folder = tiny_palette.write(tmp_path / "palette")
    done = invoke("doctor", folder)
    assert done.exit_code == 0, done.output
    for word in ("onnxruntime", metadata.version("onnxruntime"), "temperature", "CPU load", "subnets", "problem"):
        assert (word in done.stdout) is (word != "problem"), word
    # A command is on a line of its own, however long.
    assert f"  edgedistill profile {folder}" in done.stdout.splitlines()


@pytest.mark.slow
def test_the_same_for_machines(tmp_path: Path) -> None:
    folder = tiny_palette.write(tmp_path / "palette")
    done = invoke("doctor", folder, "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["palette"] == str(folder)
    assert document["runs"] is True
    checks = {check["name"]: check for check in document["checks"]}
    assert {"system", "Python", "onnxruntime", "int8", "memory", "throttling", "palette", "profile"} < set(checks)
    assert all(set(check) == {"name", "state", "summary", "fix", "fatal"} for check in document["checks"])
    assert checks["profile"]["state"] == "note"


def test_without_onnxruntime_the_exit_status_is_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ModuleNotFoundError(name='onnxruntime')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = invoke("doctor", "--json")
    assert done.exit_code == 1
    one_line(done, 'onnxruntime: not installed; pip install "edgedistill[cpu]"')
    document = json.loads(done.stdout)
    assert document["runs"] is False
    assert [check["name"] for check in document["checks"] if check["fatal"]] == ["onnxruntime"]


@pytest.mark.slow
def test_a_palette_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    done = invoke("doctor", tmp_path)
    one_line(done, "palette: ")
    assert "not a palette" in done.stderr
    assert "problem" in done.stdout


def test_it_needs_nothing_that_a_board_has_not() -> None:
    """Neither the training side nor, in its own process, onnxruntime."""
    code = (
        "import sys; from edgedistill.cli import app; import edgedistill.runtime.doctor\n"
        "print({'torch', 'transformers', 'onnx', 'onnxruntime', 'datasets'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
