"""Palettes that the README's own commands made, of small random weights and of real ones, for every test."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import readme
from built_once import build_once
from commands import run_block

if TYPE_CHECKING:
    from edgedistill.data.dataset import TaskData

_EPOCHS = {"teacher": 1, "widths": 1, "depths": 1}
FEWER_STEPS = [
    part
    for stage, epochs in _EPOCHS.items()
    for key in (f"epochs={epochs}", "min_steps=1")
    for part in ("--set", f"{stage}.{key}")
]
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
_LESS = {
    f"edgedistill train {MODEL}": FEWER_STEPS,
    "edgedistill export supernet": ["--count", "4", "--no-profile"],  # as `profile` does
    "edgedistill profile palette": ["--lengths", "64"],
}
_SIZES = {  # those of MiniLM-L6, an eighth as wide
    "hidden_size": 48,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 192,
    "max_position_embeddings": 512,
}

if "PYTEST_XDIST_WORKER" in os.environ:  # threads of processes that share a core slow each other many times over
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is long as slow too, so that -m "not slow" leaves it out; put files with slow tests first."""
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker("slow")
    if "PYTEST_XDIST_WORKER" in os.environ:  # what is long and begins last would keep the other processes waiting
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)


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
    """Return a folder in which the README's commands ran, on a small random model under the name that they use.

    It holds ``commands``, ``supernet`` and ``palette``, for all tests to read; those that change one copy it first.
    """
    return build_once(tmp_path_factory, "workplace", _run_here)


@pytest.fixture(scope="session")
def palette(workplace: Path) -> Path:
    """A palette of small random subnets, trained for a few steps; read it, do not write to it."""
    return workplace / "palette"


@pytest.fixture(scope="session")
def real_workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which a shell ran the README's commands, on MiniLM itself; for tests that are slow."""
    return build_once(tmp_path_factory, "real_workplace", _run_in_a_shell)


@pytest.fixture(scope="session")
def real_palette(real_workplace: Path) -> Path:
    """A palette of real subnets of MiniLM, trained for a few steps; read it, do not write to it."""
    return real_workplace / "palette"


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


def write_commands(folder: Path, *, train: float = 0.5, rest: float = 1.0) -> TaskData:
    """Write shares of the demo's commands as a user's folder of JSON Lines, and return all of them."""
    from edgedistill.demo.commands import generate

    data = generate()
    folder.mkdir()
    for name, split in (("train", data.train), ("validation", data.validation), ("test", data.test)):
        rows = zip(split.texts, split.labels, strict=True)
        lines = [json.dumps({"text": t, "label": data.label_names[i]}) for t, i in rows]
        share = train if name == "train" else rest
        lines = random.Random(0).sample(lines, int(share * len(lines)))
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return data


def _run_here(folder: Path) -> None:
    from tiny_training import model_folder

    data = write_commands(folder / "commands", train=0.25, rest=0.25)
    texts = " ".join(text for split in (data.train, data.validation, data.test) for text in split.texts)
    model_folder(folder / MODEL, head="", words=sorted(set(re.findall(r"\w+|[^\w\s]+", texts))), **_SIZES)
    run_block(_script(), folder)


def _run_in_a_shell(folder: Path) -> None:
    write_commands(folder / "commands", train=0.25, rest=0.25)
    done = run_shell(_script(), folder)
    assert done.returncode == 0, done.stderr


def _script() -> str:
    """Return the README's commands, in less work."""
    script = readme.block("run")
    for command, options in _LESS.items():
        assert script.count(command) == 1
        script = script.replace(command, " ".join([command, *options]))
    return script
