"""Regressions learn standardised labels: an affine change of these changes nothing but rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_encoder
import torch
from tiny_regression import (
    NEAR_ZERO,
    RECIPE_LONG,
    SCALES,
    VALUES,
    Scale,
    data,
    regressor,
    taught,
    trained,
    without_labels,
)
from tiny_training import model_folder, same_weights, train_with_kills

from edgedistill.data.dataset import TaskData
from edgedistill.data.rows import rows_of
from edgedistill.data.tables import Table
from edgedistill.distillation import mlfs
from edgedistill.distillation.evaluation import outputs_of
from edgedistill.distillation.models import resolve_model
from edgedistill.errors import DataError
from edgedistill.supernet import checkpoint
from edgedistill.supernet.checkpoint import Supernet
from edgedistill.supernet.label_scale import LabelScale

PRICES = SCALES["prices"]


@pytest.fixture(scope="module")
def near_zero(tmp_path_factory: pytest.TempPathFactory) -> Supernet:
    return trained(NEAR_ZERO, tmp_path_factory.mktemp("near-zero"))


def _answers(supernet: Supernet, given: TaskData) -> np.ndarray:
    """What the largest and the smallest member answer to the texts of train, in the user's unit."""
    rows = mlfs.encode_data(supernet, given).train
    members = (supernet.space.maxnet, supernet.space.minnet)
    return np.stack([rows.in_unit(outputs_of(supernet.model, member, rows)) for member in members])


def _assert_same_answers(ours: tuple[Supernet, TaskData], theirs: tuple[Supernet, TaskData], scale: Scale) -> None:
    """``ours`` answer as ``theirs``, on their own scale."""
    factor, offset = scale
    found, expected = (_answers(*side) for side in (ours, theirs))
    assert expected.std() > 0
    np.testing.assert_allclose((found - offset) / factor, expected, atol=1e-3 * expected.std())


@pytest.mark.slow
@pytest.mark.parametrize("name", SCALES)
def test_every_stage_is_the_same_on_every_scale(name: str, near_zero: Supernet, tmp_path: Path) -> None:
    factor, offset = SCALES[name]
    ours, theirs = trained(SCALES[name], tmp_path), near_zero
    assert ours.info.stages == theirs.info.stages == [0, 1, 2]
    same_weights(ours.model.state_dict(), theirs.model.state_dict(), 0.0)
    _assert_same_answers((ours, data(SCALES[name])), (theirs, data(NEAR_ZERO)), SCALES[name])
    for our, their in zip(ours.info.scores, theirs.info.scores, strict=True):
        assert our.curve == pytest.approx(their.curve)
        assert our.metrics["pearson"] == pytest.approx(their.metrics["pearson"])
        assert our.metrics["mean_absolute_error"] / factor == pytest.approx(their.metrics["mean_absolute_error"])
    scale = ours.info.label_scale
    assert scale is not None
    assert scale.mean == pytest.approx(offset + factor * np.mean(VALUES))
    assert scale.spread == pytest.approx(factor * np.std(VALUES))
    mean_gap = factor * np.abs(np.array(VALUES[20:]) - np.mean(VALUES)).mean()
    assert all(score.metrics["mean_absolute_error"] < mean_gap / 2 for score in ours.info.scores)


@pytest.mark.slow
def test_a_regressor_that_is_fine_tuned_teaches_the_same_on_every_scale(tmp_path: Path) -> None:
    sides = []
    for scale in (PRICES, NEAR_ZERO):
        given = data(scale)
        model = regressor(tmp_path / f"model-{scale[0]}", scale)
        sides.append((taught(model, given, tmp_path / f"{scale[0]}"), given))
    _assert_same_answers(*sides, PRICES)


@pytest.mark.slow
def test_a_teacher_without_labels_is_standardised_by_its_own_answers(tmp_path: Path) -> None:
    given, sides = without_labels(), []
    for scale in (PRICES, NEAR_ZERO):
        model = regressor(tmp_path / f"model-{scale[0]}", scale)
        sides.append((taught(model, given, tmp_path / f"{scale[0]}"), given))
        answers = sides[-1][0].teacher["train"]
        assert float(answers.mean()) == pytest.approx(0.0, abs=1e-4)
        assert float(answers.std(correction=0)) == pytest.approx(1.0, abs=1e-4)
    _assert_same_answers(*sides, PRICES)
    assert set(sides[0][0].info.scores[0].metrics) == {"spearman_to_teacher", "mean_absolute_error_to_teacher"}


@pytest.mark.slow
def test_a_head_of_another_unit_begins_where_a_new_one_does(tmp_path: Path) -> None:
    """As where a regressor of prices learns ratings; its answers are not the labels' yet."""
    given, sides = data(NEAR_ZERO), []
    for scale in (PRICES, NEAR_ZERO):
        model = regressor(tmp_path / f"model-{scale[0]}", scale)
        sides.append((taught(model, given, tmp_path / f"{scale[0]}", fine_tuned=False), given))
    _assert_same_answers(*sides, NEAR_ZERO)
    mean_gap = np.abs(np.array(VALUES[20:]) - np.mean(VALUES)).mean()
    assert all(side.info.scores[0].metrics["mean_absolute_error"] < mean_gap for side, _ in sides)


@pytest.mark.slow
def test_a_run_on_years_goes_on_as_if_never_stopped(
    near_zero: Supernet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, given = resolve_model(model_folder(tmp_path / "model", head="")), data(SCALES["years"])
    resumed, _ = train_with_kills(
        lambda: mlfs.build_supernet(source, given, RECIPE_LONG), given, tmp_path / "parts", monkeypatch
    )
    same_weights(resumed.model.state_dict(), near_zero.model.state_dict(), 0.0)
    stored = checkpoint.load(tmp_path / "parts")
    assert stored.info.label_scale == resumed.info.label_scale
    assert stored.info.label_scale is not None


@pytest.mark.slow
def test_a_teacher_that_was_standardised_goes_on_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = regressor(tmp_path / "model", PRICES), without_labels()
    whole = taught(model, given, tmp_path / "whole")
    recipe = RECIPE_LONG.model_copy(update={"fine_tuned": True})
    begun = mlfs.build_supernet(resolve_model(model), given, recipe)
    log: list[str] = []
    accelerator = mlfs.Accelerator(cpu=True)
    first = mlfs.train(begun, given, tmp_path / "parts", print, announce=log.append, accelerator=accelerator, until=0)
    assert log.count("asking the teacher") == 2  # train, to standardise by; then what it is scored on
    again = checkpoint.load(tmp_path / "parts")
    assert again.info.label_scale == first.info.label_scale == whole.info.label_scale
    rest = mlfs.train(again, given, tmp_path / "parts", lambda _: None, announce=log.append, accelerator=accelerator)
    same_weights(rest.model.state_dict(), whole.model.state_dict(), 0.0)


def test_a_teacher_that_answers_all_alike_is_refused(tmp_path: Path) -> None:
    model = regressor(tmp_path / "model", (0.0, 2000.0))
    with pytest.raises(DataError, match=r"its answers to texts.txt spread by 0 around 2000, where answers \(fp32\)"):
        taught(model, without_labels(), tmp_path / "supernet")
    assert not (tmp_path / "supernet" / "supernet.json").exists()


@pytest.mark.slow
def test_all_labels_but_one_alike_is_something_to_learn(tmp_path: Path) -> None:
    source = resolve_model(model_folder(tmp_path / "model", head=""))
    given = data(NEAR_ZERO, [7.0] + [5.0] * 39)
    supernet = mlfs.train(
        mlfs.build_supernet(source, given, RECIPE_LONG), given, tmp_path / "supernet", lambda _: None,
        announce=lambda _: None, accelerator=mlfs.Accelerator(cpu=True),
    )  # fmt: skip
    assert all(np.isfinite(score.metrics["mean_absolute_error"]) for score in supernet.info.scores)


@pytest.mark.parametrize(
    ("labels", "steps"),
    [
        ([2000.0] * 40, "spread by 0 around 2000, where answers (fp32) come in steps of 0.000122"),
        ([1e6 + 1e-3 * value for value in VALUES], "spread by 0.000821 around 1000000"),
        ([2.0**24 + value for value in VALUES], "around 16777217, where answers (fp32) come in steps of 2;"),
        ([1e-40 * value for value in VALUES], "expected a spread of at least 9.86e-32"),
    ],
    ids=["all alike", "closer than fp32 tells", "whole numbers beyond 2^24", "below fp32"],
)
def test_labels_that_fp32_cannot_tell_apart_are_refused(labels: list[float], steps: str, tmp_path: Path) -> None:
    source = resolve_model(model_folder(tmp_path / "model", head=""))
    with pytest.raises(DataError) as caught:
        mlfs.build_supernet(source, data(NEAR_ZERO, labels), RECIPE_LONG)
    assert str(caught.value).startswith("rows: the labels of train spread by")
    assert steps in str(caught.value)
    assert str(caught.value).endswith("subtract a constant, or change the unit")


@pytest.mark.parametrize("label", [1e39, -1e39, "3.5e38"])
def test_a_label_that_fp32_cannot_hold_is_refused_by_its_row(label: object) -> None:
    records = [{"text": "a", "label": 3.4e38}, {"text": "b", "label": "17"}, {"text": "c", "label": label}]
    table = Table("data/train.jsonl", ["text", "label"], records, {})
    with pytest.raises(DataError, match=r"data/train.jsonl, row 3 has the label .* a number that fp32 holds"):
        rows_of(table, "text-regression", ["text"], "label")


def test_a_head_answers_the_same_in_either_unit() -> None:
    scale, model = LabelScale.fit([1990.0, 2000.0, 2030.0], "years"), tiny_encoder.encoder()
    head, states = model.classifier, torch.randn(5, tiny_encoder.ARCH.hidden)
    before = head(states)
    folded = scale.folded(model.state_dict())
    answers = states @ folded["classifier.weight"].T + folded["classifier.bias"]
    np.testing.assert_allclose(answers.detach(), scale.in_unit(before.detach()), rtol=1e-6)
    head.load_state_dict({name: folded[f"classifier.{name}"] for name in ("weight", "bias")})
    scale.unfold(head)
    torch.testing.assert_close(head(states), before, atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(scale.standardised(scale.in_unit(VALUES)), VALUES, atol=1e-12)
