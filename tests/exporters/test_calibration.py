"""A member's scores become probabilities, and how they are spread is measured."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tiny_encoder
import tiny_supernet
import torch
from scipy.special import softmax

from edgedistill.data.batches import Encoded
from edgedistill.exporters import write_palette
from edgedistill.exporters.calibration import Calibrator, fitted_temperature, spliced
from edgedistill.runtime.calibrated_scores import energy
from edgedistill.tasks import task_of

CLASSES, LABELS = task_of("text-classification"), task_of("multi-label-classification")


def _drawn(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits [rows, 4], and labels drawn by the probabilities that they stand for."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (rows, 4))
    return logits, (softmax(logits, -1).cumsum(-1) > rng.random((rows, 1))).argmax(-1)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_a_factor_and_the_error_with_it(factor: float) -> None:
    logits, labels = _drawn(20_000)
    found = fitted_temperature(CLASSES, factor * logits, np.eye(4)[labels])
    assert found == pytest.approx(factor, rel=0.03)
    assert CLASSES.calibration_error(factor * logits / found, labels) < 0.01
    assert factor == 1 or CLASSES.calibration_error(factor * logits, labels) > 0.05


def test_a_temperature_stays_within_bounds_where_all_is_known() -> None:
    labels = np.arange(40) % 4
    assert 0.2 <= fitted_temperature(CLASSES, 10 * np.eye(4)[labels], np.eye(4)[labels]) < 0.3


def test_the_error_by_hand() -> None:
    """Two bins: a score of 0.9 that is right in one of two, one of 0.6 that is right."""
    logits = np.log([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]])
    assert CLASSES.calibration_error(logits, np.array([0, 1, 0])) == pytest.approx((2 * 0.4 + 0.4) / 3, abs=1e-6)


def test_without_labels_a_member_is_compared_with_the_teacher() -> None:
    rows = tiny_supernet.rows()
    blind = dataclasses.replace(
        rows,
        validation=dataclasses.replace(rows.validation, labels=None),
        test=dataclasses.replace(rows.test, labels=None),
    )
    teacher = torch.from_numpy(_drawn(len(rows.validation))[0])
    found = Calibrator(CLASSES, blind, {"validation": teacher}, None).measure(3 * teacher, teacher, ())
    assert found.temperature == pytest.approx(3, rel=1e-3)
    assert (found.error, found.error_before) == (None, None)


def test_labels_that_are_decided_apart_have_a_temperature_and_a_threshold_each() -> None:
    """Scores of a member whose logits are too large and shifted: the factor and the shift come out again."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 3))
    labels = (1 / (1 + np.exp(-logits)) > rng.random(logits.shape)).astype(int)
    assert fitted_temperature(LABELS, 3 * logits, labels.astype(float)) == pytest.approx(3, rel=0.1)
    assert LABELS.calibration_error(logits, labels.tolist()) < 0.02 < LABELS.calibration_error(3 * logits, labels)
    shifted = np.array([0.0, 2.0, -2.0])
    decided = (logits > 0).astype(float)
    thresholds = LABELS.thresholds(LABELS.scores(logits + shifted), decided)
    assert thresholds == pytest.approx((1 / (1 + np.exp(-shifted))).tolist(), abs=0.01)
    assert (LABELS.at_thresholds(logits + shifted, 1.0, thresholds) > 0).tolist() == (logits > 0).tolist()


def test_rows_halfway_begin_as_one_and_end_as_another() -> None:
    rows = Encoded(
        ((1, 5, 5, 5, 5, 2), (1, 6, 6, 6, 6, 6, 6, 2), (1, 9, 2)), ((0,) * 6, (0,) * 8, (0,) * 3), None, None, 0
    )
    found = spliced(rows, 200)
    assert set(found.ids) == {
        (1, 5, 5, 5, 5, 2),
        (1, 5, 5, 6, 6, 6, 2),
        (1, 6, 6, 6, 5, 5, 2),
        (1, 6, 6, 6, 6, 6, 6, 2),
    }
    assert [len(types) for types in found.type_ids] == [len(ids) for ids in found.ids]
    assert len(spliced(rows.subset([2]), 10)) == 0


def test_members_reject_alike_whatever_the_scale_and_shift_of_their_energies() -> None:
    """A threshold is found at the first member among its out-of-scope texts, and at the others at the same rank."""
    rows = tiny_supernet.rows()
    calibrator, classes = Calibrator(CLASSES, rows, {}, rows.train), max(map(int, rows.validation.labels or ())) + 1
    rng = np.random.default_rng(0)
    given, halfway = (torch.from_numpy(rng.normal(0, spread, (500, classes))) for spread in (2, 3))
    answers = [torch.from_numpy(rng.normal(0, 1, (len(split), classes))) for split in (rows.validation, rows.test)]
    first, other = (calibrator.measure(*answers, [scale * given, scale * halfway]) for scale in (1.0, 4.0))
    recorded = calibrator.recorded()
    assert recorded is not None
    assert first.energies is not None
    assert other.energies is not None
    for rejected in (0.5, 0.9, 0.95):
        rank = np.interp(rejected, np.linspace(0, 1, 101), recorded.ranks)
        rejects = [
            (energy(scale * given.numpy()) < np.interp(rank, np.linspace(0, 1, 101), one.energies)).mean()
            for scale, one in ((1.0, first), (4.0, other))
        ]
        assert rejects == pytest.approx([rejected, rejected], abs=0.02)


@pytest.mark.slow
def test_every_member_of_a_palette_is_calibrated(tmp_path: Path) -> None:
    supernet, rows = tiny_supernet.supernet(), tiny_supernet.rows()
    family = list(tiny_encoder.SPACE)[:3]
    written = write_palette(supernet, family, rows, tmp_path / "palette", lambda _: None, out_of_scope=rows.train)
    manifest = written.manifest
    assert manifest.out_of_scope is not None
    assert manifest.out_of_scope.texts == len(rows.train)
    assert manifest.out_of_scope.halfway == 3000
    assert 0 <= manifest.out_of_scope.ranks[0] < manifest.out_of_scope.ranks[-1] <= 1
    found = [entry.calibration for entry in manifest.subnets]
    assert found[0] is not None
    assert found[0].flip_rate == 0
    assert all(one is not None and one.energies is not None and one.energies[0] < one.energies[-1] for one in found)
    plain = write_palette(supernet, family[:1], rows, tmp_path / "plain", lambda _: None).manifest
    assert plain.out_of_scope is None
    assert plain.subnets[0].calibration is not None
    assert plain.subnets[0].calibration.energies is None
