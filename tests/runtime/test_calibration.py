"""A score means the same whichever member answers, and so does a threshold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_palette

from edgedistill.errors import InputError, PaletteError
from edgedistill.manifest import load
from edgedistill.runtime import AdaptiveSession, TextClassifier
from edgedistill.runtime.calibration import Scores


@pytest.fixture
def calibrated(tmp_path: Path) -> Path:
    return tiny_palette.calibrate(tiny_palette.write(tmp_path / "palette"))


def test_a_threshold_lets_the_same_share_pass_everywhere(calibrated: Path) -> None:
    manifest = load(calibrated).manifest
    rng = np.random.default_rng(0)
    share = rng.random(10_000)  # of out-of-scope texts below each of these
    for threshold in (0.0, 0.1, 0.5, 0.9, 0.99, 1.0):
        scores = Scores(manifest, threshold)
        passed = [
            float((tiny_palette.score_at(name, share) >= scores.least(name)).mean()) for name in tiny_palette.WIDTHS
        ]
        assert scores.least("large") == pytest.approx(threshold, abs=1e-6)
        assert passed == pytest.approx([passed[0]] * len(passed), abs=0.01)
    assert Scores(manifest, None).least("small") == 0


def test_scores_are_cooled_by_the_member_s_own_temperature(calibrated: Path) -> None:
    scores = Scores(load(calibrated).manifest, None)
    logits = np.array([[2.0, 0.0, -1.0]], np.float32)
    for name, temperature in tiny_palette.TEMPERATURES.items():
        powers = np.exp(logits / temperature)
        np.testing.assert_allclose(scores.of(name, logits), powers / powers.sum(), atol=1e-6)


def test_a_classifier_accepts_by_the_member_that_answers(calibrated: Path) -> None:
    with AdaptiveSession(calibrated, threads=1) as session:
        (found,) = TextClassifier(session).classify(["lamp"])
        assert found.accepted
        least = {name: Scores(session.palette.manifest, 0.6).least(name) for name in tiny_palette.WIDTHS}
        for text in ("lamp", "play some music", "set a timer", "the the the"):
            (label,) = TextClassifier(session, threshold=0.6).classify([text])
            assert label.accepted == (label.score >= least[label.subnet])
        assert not TextClassifier(session, threshold=1.0).classify(["lamp"])[0].accepted


def test_a_threshold_that_cannot_be_is_refused(calibrated: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"threshold is 1\.5; expected a score from 0 to 1"):
        TextClassifier(calibrated, threshold=1.5)
    plain = tiny_palette.write(tmp_path / "plain")
    with pytest.raises(InputError, match="no calibration"):
        TextClassifier(plain, threshold=0.5)
    with TextClassifier(plain) as classifier:
        assert classifier.classify(["lamp"])[0].accepted


@pytest.mark.parametrize("fault", ["no temperature", "no reference", "falling"])
def test_a_calibration_that_cannot_be_is_refused(calibrated: Path, fault: str) -> None:
    path = calibrated / "manifest.json"
    text = path.read_text()
    broken = {
        "no temperature": text.replace('"temperature": 2.0', '"temperature": 0.0'),
        "no reference": text.replace('"reference": "large"', '"reference": "none"'),
        "falling": text.replace('"percentiles": [\n', '"percentiles": [\n1.0,', 1).replace("1.0\n", "0.99\n", 1),
    }[fault]
    assert broken != text
    path.write_text(broken)
    with pytest.raises(PaletteError):
        load(calibrated)
