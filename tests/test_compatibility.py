"""Hold on to palettes of earlier versions: they open, verify, and answer as they did when they were made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edgedistill.palette import load
from edgedistill.runtime import AdaptiveSession, TextClassifier
from edgedistill.runtime.verification import TOLERANCE, verify

PALETTES = Path(__file__).parent / "palettes"


@pytest.fixture
def palette(tmp_path: Path) -> Path:
    """Copy the palette of schema 7, which was exported and profiled by version 0.1.0."""
    return Path(shutil.copytree(PALETTES / "schema-7", tmp_path / "palette"))


def test_a_palette_of_schema_7_verifies(palette: Path) -> None:
    assert [profile.device.name for profile in load(palette).profiles.values()] == ["vm"]
    assert [checked.fault for checked in verify(load(palette))] == [None] * 6


def test_members_of_schema_7_give_the_answers_that_were_recorded(palette: Path) -> None:
    recorded = json.loads((PALETTES / "schema-7-answers.json").read_text(encoding="utf-8"))
    assert len(recorded["answers"]) == 6
    for entry in load(palette).manifest.subnets:
        expected = recorded["answers"][entry.name]
        with AdaptiveSession(palette, only=[entry.name], threads=1) as session:
            answers = TextClassifier(session).classify(recorded["texts"])
        assert [answer.label for answer in answers] == [label for label, _ in expected]
        scores = [score for _, score in expected]
        assert [answer.score for answer in answers] == pytest.approx(scores, abs=TOLERANCE[entry.precision])
