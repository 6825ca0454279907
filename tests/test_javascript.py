"""A palette answers in another binding of onnxruntime, with nothing of ours: the JavaScript example."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import readme
import tiny_palette

EXAMPLE = readme.ROOT / "examples" / "javascript"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("npm") is None, reason="needs Node.js and npm"),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, installed by its README's own command."""
    folder = tmp_path_factory.mktemp("javascript")
    shutil.copy(EXAMPLE / "ask.mjs", folder)
    install = next(line for line in (EXAMPLE / "README.md").read_text().splitlines() if line.startswith("npm install"))
    done = subprocess.run(install.split(), cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "ask.mjs"


def _ask(program: Path, palette: Path) -> subprocess.CompletedProcess[str]:
    command = ["node", str(program), str(palette)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_every_member_answers_as_it_did_where_it_was_exported(program: Path, palette: Path) -> None:
    done = _ask(program, palette)
    assert done.returncode == 0, done.stderr
    answered = [json.loads(line) for line in done.stdout.splitlines()]
    members = json.loads((palette / "manifest.json").read_text())["subnets"]
    assert [one["subnet"] for one in answered] == [member["name"] for member in members]
    assert {member["quantization"]["scheme"] for member in members} == {"none", "int8-dynamic"}
    for one, member in zip(answered, members, strict=True):
        assert one["difference"] < (1e-4 if member["quantization"]["scheme"] == "none" else 0.1)


def test_an_answer_that_differs_is_told(program: Path, tmp_path: Path) -> None:
    palette = tiny_palette.write(tmp_path / "palette")
    assert _ask(program, palette).returncode == 0
    probes = json.loads((palette / "probes.json").read_text())
    probes["answers"]["small"][0] += 10
    (palette / "probes.json").write_text(json.dumps(probes))
    done = _ask(program, palette)
    assert done.returncode == 1
    assert "small answers otherwise" in done.stderr
