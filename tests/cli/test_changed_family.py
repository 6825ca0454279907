"""A palette's family is changed by name, and nothing else of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from commands import invoke, one_line

from edgedistill.palette import load


@pytest.fixture
def copied(workplace: Path, tmp_path: Path) -> Path:
    shutil.copytree(workplace / "palette", tmp_path / "palette")
    return tmp_path / "palette"


def _export(workplace: Path, palette: Path, *options: object) -> tuple[object, ...]:
    return ("export", workplace / "supernet", "-o", palette, "--data", workplace / "commands", "--no-profile", *options)


@pytest.mark.slow
def test_one_goes_and_comes_back(workplace: Path, copied: Path) -> None:
    before = load(copied)
    gone = before.manifest.subnets[1].config.name
    assert invoke(*_export(workplace, copied, "--drop", gone)).exit_code == 0
    less = load(copied)
    assert {entry.config.name for entry in less.manifest.subnets} == {
        entry.config.name for entry in before.manifest.subnets
    } - {gone}
    assert less.profiles.keys() == before.profiles.keys()
    done = invoke(*_export(workplace, copied, "--add", gone, "--json"))
    assert done.exit_code == 0, done.output
    assert [one["name"] for one in json.loads(done.stdout)["subnets"]] == [e.name for e in before.manifest.subnets]
    assert load(copied).manifest.subnets == before.manifest.subnets
    assert invoke("verify", copied).exit_code == 0


def test_what_cannot_be_changed_is_said_in_one_line(workplace: Path, copied: Path, tmp_path: Path) -> None:
    names = sorted({entry.config.name for entry in load(copied).manifest.subnets})
    one_line(invoke(*_export(workplace, copied, "--add", names[0])), "is in ")
    one_line(invoke(*_export(workplace, copied, "--drop", "l9-d1-h1-f1")), "there is no 'l9-d1-h1-f1' to drop")
    one_line(invoke(*_export(workplace, copied, "--add", "l9-d1-h1-f1")), "no subnet 'l9-d1-h1-f1' in this space")
    every = [word for name in names for word in ("--drop", name)]
    one_line(invoke(*_export(workplace, copied, *every)), "nothing would be left")
    one_line(invoke(*_export(workplace, tmp_path / "none", "--drop", names[0])), "is not a palette")
