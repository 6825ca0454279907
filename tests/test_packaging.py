"""The wheel that is built from the sdist, in an environment of its own, far from the checkout."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
import readme

import edgedistill

FORBIDDEN = ("torch", "transformers", "onnx", "datasets", "sklearn")


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``python -m build`` without options: an sdist, and a wheel from that sdist."""
    folder = tmp_path_factory.mktemp("dist")
    # The README's command installed what the build needs, so no environment of its own is made for it.
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, readme.ROOT],
        check=True,
        capture_output=True,
    )
    return folder


def test_the_sdist_and_the_wheel_hold_every_module(dist: Path) -> None:
    modules = {
        str(path.relative_to(readme.ROOT))
        for pattern in ("*.py", "*.sh", "*.toml", "py.typed")
        for path in (readme.ROOT / "edgedistill").rglob(pattern)
    }
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        packed = set(wheel.namelist())
    assert modules <= packed
    assert not [name for name in packed if name.startswith(("runtime/", "exporters/", "device_profiles/"))]
    with tarfile.open(next(dist.glob("*.tar.gz"))) as sdist:
        sources = {name.partition("/")[2] for name in sdist.getnames()}
    assert modules <= sources


@pytest.mark.slow
def test_the_wheel_answers_elsewhere_with_the_device_side_alone(dist: Path, real_palette: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    wheel = next(dist.glob("*.whl"))
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "-q",
        "-c",
        readme.ROOT / "constraints.txt",
        f"{wheel}[cpu]",
    ]
    subprocess.run(install, check=True, capture_output=True)
    imported = f"import edgedistill.runtime, sys; print([m for m in {FORBIDDEN} if m in sys.modules])"
    assert _output([python, "-c", imported], tmp_path) == "[]\n"
    command = [tmp_path / "venv" / "bin" / "edgedistill", "run", real_palette, "turn on the lights", "--json"]
    assert json.loads(_output(command, tmp_path))["label"]
    without = subprocess.run(
        [*command[:1], "train", "model", "--data", "demo", "-o", "out"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert without.returncode == 1
    assert "pip install 'edgedistill[train]'" in without.stderr
    assert "Traceback" not in without.stderr


def _output(command: list[object], folder: Path) -> str:
    return subprocess.run([str(c) for c in command], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_the_changelog_begins_with_this_version() -> None:
    newest = re.search(r"^## (\S+?),? ", (readme.ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == edgedistill.__version__
