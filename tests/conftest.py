"""A real palette for every test that wants one: the README's own commands, of real weights, in less work."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import readme

from edgedistill.demo.commands import generate

_EPOCHS = {"teacher": 1, "widths": 1, "depths": 1}
FEWER_STEPS = [
    part
    for stage, epochs in _EPOCHS.items()
    for key in (f"epochs={epochs}", "least_steps=1")
    for part in ("--set", f"{stage}.{key}")
]
_LESS = {
    "edgedistill train sentence-transformers/all-MiniLM-L6-v2": FEWER_STEPS,
    "edgedistill export supernet": ["--count", "4", "--no-profile"],  # as `profile` does
}


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Private copies of palettes go with the tests' other files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEDISTILL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _heard_interrupts() -> Iterator[None]:
    """Let programs that tests start hear SIGINT and SIGHUP, which a background job or nohup makes them ignore."""
    heard = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in heard.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the README's commands ran: ``commands``, ``supernet`` and ``palette``."""
    folder = tmp_path_factory.mktemp("workplace")
    write_commands(folder / "commands")
    script = readme.block("run")
    for command, options in _LESS.items():
        assert script.count(command) == 1
        script = script.replace(command, " ".join([command, *options]))
    done = run_shell(script, folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def palette(workplace: Path) -> Path:
    """A palette of real subnets of MiniLM, trained for a few steps; read it, do not write to it."""
    return workplace / "palette"


def run_shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script with this environment's commands first on the path."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )


def write_commands(folder: Path) -> None:
    """The demo's commands, half of those to train with, as a user's folder of JSON Lines."""
    data = generate()
    folder.mkdir()
    for name, split in (("train", data.train), ("validation", data.validation), ("test", data.test)):
        rows = zip(split.texts, split.labels, strict=True)
        lines = [json.dumps({"text": t, "label": data.label_names[i]}) for t, i in rows]
        if name == "train":
            lines = random.Random(0).sample(lines, len(lines) // 2)
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
