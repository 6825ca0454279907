"""A score means the same whichever member answers, and so does what is rejected."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tiny_palette
from scipy.special import logsumexp
from waiting import wait_until

from edgedistill.errors import InputError, PaletteError
from edgedistill.palette import load
from edgedistill.runtime import AdaptiveSession, TextClassifier
from edgedistill.runtime.calibrated_scores import CalibratedScores, energy


@pytest.fixture
def calibrated(tmp_path: Path) -> Path:
    return tiny_palette.calibrate(tiny_palette.write(tmp_path / "palette"))


@pytest.mark.parametrize("logits", [[[2.0, 0.0, -1.0]], [[700.0, 0.0, 0.0], [1.0, 1.0, 1.0]]])
def test_the_energy_by_hand(logits: list[list[float]]) -> None:
    """log Σ exp less the mean: unmoved by a shift of all, and nowhere infinite."""
    exact = np.array(logits)
    expected = logsumexp(exact, axis=-1) - exact.mean(-1)
    np.testing.assert_allclose(energy(np.array(logits, np.float32)), expected)
    np.testing.assert_allclose(energy(np.array(logits, np.float32) + 5), expected)


def _with_energy(energies: np.ndarray) -> np.ndarray:
    """Logits [n, 3] that have these energies: one label as sure as need be, the others alike."""
    gaps = np.linspace(0, 50, 100_001)
    known = np.log(np.exp(gaps) + 2) - gaps / 3
    found = np.interp(energies, known, gaps)
    return np.stack([found, np.zeros_like(found), np.zeros_like(found)], -1)


def test_the_same_share_passes_whichever_member_answers(calibrated: Path) -> None:
    manifest = load(calibrated).manifest
    share = np.random.default_rng(0).uniform(0.5, 1, 10_000)  # of out-of-scope texts below each of these
    for false_accept_rate in (0.0, 0.05, 0.1, 0.3):
        scores = CalibratedScores(manifest, false_accept_rate)
        for name in tiny_palette.WIDTHS:
            passed = scores.accepted(name, _with_energy(tiny_palette.energy_at(name, share)))
            assert passed.mean() == pytest.approx(2 * false_accept_rate, abs=0.015), (name, false_accept_rate)
    assert CalibratedScores(manifest, None).accepted("small", np.zeros((2, 3), np.float32)).all()
    assert CalibratedScores(manifest, 1.0).accepted("small", _with_energy(tiny_palette.energy_at("small", share))).all()


def test_scores_are_cooled_by_the_member_s_own_temperature(calibrated: Path) -> None:
    scores = CalibratedScores(load(calibrated).manifest, None)
    logits = np.array([[2.0, 0.0, -1.0]], np.float32)
    for name, temperature in tiny_palette.TEMPERATURES.items():
        powers = np.exp(logits / temperature)
        np.testing.assert_allclose(scores.probabilities(name, logits), powers / powers.sum(), atol=1e-6)


TEXTS = ["lamp", "play some music", "set a timer", "the the the"]


def test_a_classifier_accepts_as_many_as_it_is_told(calibrated: Path) -> None:
    with AdaptiveSession(calibrated, threads=1) as session:
        assert all(found.accepted for found in TextClassifier(session).classify(TEXTS))
        none = TextClassifier(session, false_accept_rate=0.0).classify(TEXTS)
        every = TextClassifier(session, false_accept_rate=1.0).classify(TEXTS)
        assert [found.accepted for found in (*none, *every)] == [False] * 4 + [True] * 4


def _serve(session: AdaptiveSession, name: str) -> None:
    session.pin(name)
    wait_until(lambda: session.active == name and session._controller.fallback is not None)


def test_whichever_answers_the_smallest_says_what_is_in_scope(calibrated: Path) -> None:
    """By its own threshold the smallest accepts everything here, and every other nothing."""
    entries = []
    for entry in load(calibrated).manifest.subnets:
        assert entry.calibration is not None
        changed = {"energies": [0.0 if entry.name == "small" else 1e6] * 101}
        entries.append(entry.model_copy(update={"calibration": entry.calibration.model_copy(update=changed)}))
    tiny_palette.reseal(calibrated, subnets=entries)
    with AdaptiveSession(calibrated, threads=1, interval_s=0.01) as session:
        classifier = TextClassifier(session, false_accept_rate=0.5)
        for name in tiny_palette.WIDTHS:
            _serve(session, name)
            for deadline_ms in (None, 1e4, 1e-9):
                found = classifier.classify(TEXTS, deadline_ms=deadline_ms)
                assert {one.subnet for one in found} == {"small" if deadline_ms == 1e-9 else name}
                assert all(one.accepted for one in found)
    with AdaptiveSession(calibrated, threads=1, only=["large"]) as alone:
        assert not any(one.accepted for one in TextClassifier(alone, false_accept_rate=0.5).classify(TEXTS))


def test_a_second_answer_is_the_smallests_and_none_where_that_answered(calibrated: Path) -> None:
    feeds = {"input_ids": np.array([[1, 5, 2]]), "attention_mask": np.ones((1, 3), np.int64)}
    with AdaptiveSession(calibrated, threads=1, interval_s=0.01) as session:
        _serve(session, "large")
        first = session.answer(None, feeds)
        second = session.second_answer(None, feeds, first)
        assert (first.subnet, second.subnet) == ("large", "small")
        _serve(session, "small")
        own = session.answer(None, feeds)
        assert session.second_answer(None, feeds, own) is own
        np.testing.assert_array_equal(second.outputs[0], own.outputs[0])


def test_what_cannot_be_asked_for_is_refused(calibrated: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"false_accept_rate is 1\.5; expected a share from 0 to 1"):
        TextClassifier(calibrated, false_accept_rate=1.5)
    plain = tiny_palette.write(tmp_path / "plain")
    with pytest.raises(InputError, match="--out-of-scope"):
        TextClassifier(plain, false_accept_rate=0.5)
    with TextClassifier(plain) as classifier:
        assert classifier.classify(["lamp"])[0].accepted


@pytest.mark.parametrize("fault", ["no temperature", "no texts", "falling"])
def test_a_calibration_that_cannot_be_is_refused(calibrated: Path, fault: str) -> None:
    path = calibrated / "manifest.json"
    text = path.read_text()
    broken = {
        "no temperature": text.replace('"temperature": 2.0', '"temperature": 0.0'),
        "no texts": re.sub(r'"out_of_scope": \{[^}]*\}', '"out_of_scope": null', text),
        "falling": re.sub(r'"energies": \[\s*0.0', '"energies": [9.0', text, count=1),
    }[fault]
    assert broken != text
    path.write_text(broken)
    with pytest.raises(PaletteError):
        load(calibrated)
