"""What the README shows, runs. (Its `run` block makes the palette that other tests use.)"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import readme


def test_the_python_snippet_answers(workplace: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", readme.block("python")], cwd=workplace, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3


def test_the_two_commands_name_real_extras_and_commands() -> None:
    project = (readme.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for mark, extra in (("demo", "demo"), ("tests", "dev")):
        assert f'-e ".[{extra}]"' in readme.block(mark)
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE)


def test_every_folder_on_the_map_exists() -> None:
    text = (readme.ROOT / "README.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) > 8
    for row in rows:
        for name in re.findall(r"`([\w/.]+)`", row.split("|")[1]):
            beside = readme.ROOT / "edgedistill" / name
            assert (readme.ROOT / name).exists() or beside.exists(), name


def test_examples_answer(workplace: Path) -> None:
    """On this machine's CPU; nothing here speaks of a board's speed."""
    examples = readme.ROOT / "examples"
    pi = subprocess.run(
        [sys.executable, examples / "raspberry_pi" / "assistant.py", "palette"],
        cwd=workplace,
        input="turn on the lights\nset an alarm for six\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert pi.returncode == 0, pi.stderr
    assert len(pi.stdout.splitlines()) == 2
    queue = workplace / "queue"
    queue.mkdir()
    (queue / "one.txt").write_text("turn on the lights")
    (queue / "two.txt").write_text("   ")
    jetson = [sys.executable, str(examples / "jetson" / "watch_queue.py"), "palette", "queue", "--once"]
    subprocess.run(jetson, cwd=workplace, check=True, timeout=60)
    assert "label" in json.loads((queue / "one.json").read_text())
    assert "error" in json.loads((queue / "two.json").read_text())


def test_examples_are_short() -> None:
    for path in (readme.ROOT / "examples").rglob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) < 60, path
