"""Every command that the README and the examples' pages show, run where it says."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import programs
import pytest
import readme
from conftest import run_shell

FOLDERS = ["real_time", "offline", "private", "low_latency"]


@pytest.fixture
def place(tmp_path: Path, palette: Path, tagger: Path) -> Path:
    """What the commands expect to find."""
    (tmp_path / "examples").symlink_to(programs.EXAMPLES)
    (tmp_path / "palette").symlink_to(palette)
    (tmp_path / "tagger").symlink_to(tagger)
    (tmp_path / "letter.txt").write_text("turn on the lamp\n")
    (tmp_path / "lines.txt").write_text("play some music\n")
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "one.txt").write_text("set a timer")
    return tmp_path


def page(folder: str) -> str:
    return f"examples/{folder}/README.md"


@pytest.mark.parametrize(
    ("folder", "says"), [("real_time", "in time"), ("offline", "1 of 1"), ("private", "the [thing]\n4\n")]
)
def test_a_page_s_commands_run(place: Path, folder: str, says: str) -> None:
    done = run_shell(readme.block("command", page(folder)), place)
    assert done.returncode == 0, done.stderr
    assert says in done.stdout + done.stderr
    assert folder != "real_time" or len((place / "answers.jsonl").read_text().splitlines()) == 2
    assert folder != "offline" or (place / "labels.jsonl").read_text().startswith('{"document": "one.txt", "label": ')


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_service_s_commands_run(place: Path) -> None:
    script = readme.block("command", page("low_latency")).replace("8040", str(programs.free_port()))
    done = run_shell(script, place)
    assert done.returncode == 0, done.stderr
    assert '"explain":"large ' in done.stdout
    assert '"label":' in done.stdout


def test_the_readme_s_commands_run(place: Path) -> None:
    rows = re.findall(r"^\| `examples/(\w+)` \|.*\| `(.+)` \|$", (readme.ROOT / "README.md").read_text(), re.MULTILINE)
    assert [folder for folder, _ in rows] == FOLDERS
    *others, (_, serve) = rows
    for folder, command in others:
        done = run_shell(f"python examples/{folder}/{command}", place)
        assert done.returncode == 0, done.stderr
    arguments = [sys.executable, *f"examples/low_latency/{serve} --port {programs.free_port()}".split()]
    with subprocess.Popen(arguments, cwd=place, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert any(b"serve: http://127.0.0.1:" in line for line in process.stderr)
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(programs.WAIT_S) == 0


def test_an_example_is_short() -> None:
    found = [path for folder in FOLDERS for path in (programs.EXAMPLES / folder).glob("*.py")]
    assert len(found) == len(FOLDERS) + 1  # the service's connections
    for path in found:
        assert sum(map(bool, path.read_text(encoding="utf-8").splitlines())) < 110, path


def test_the_extra_that_the_service_s_page_names_is_there() -> None:
    assert "edgedistill[cpu,examples]" in (readme.ROOT / page("low_latency")).read_text()
    assert re.search(r"^examples = \[", (readme.ROOT / "pyproject.toml").read_text(), re.MULTILINE)
