"""A regression's palette answers in the unit of its labels, whatever that is, and is checked by it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_palette
import torch
from tiny_regression import NEAR_ZERO, SCALES, TEXTS, data, trained
from tiny_training import RECIPE
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from edgedistill.distillation import mlfs
from edgedistill.exporters import write_palette
from edgedistill.exporters.hugging_face import write_hugging_face
from edgedistill.exporters.standalone import write_onnx
from edgedistill.palette import Palette, load
from edgedistill.runtime import TextRegressor
from edgedistill.runtime.onnx import create_session
from edgedistill.runtime.verification import TOLERANCE, verify
from edgedistill.supernet.checkpoint import Supernet

pytestmark = pytest.mark.slow

Exported = dict[str, tuple[Supernet, Palette]]
ALL = {"near zero": NEAR_ZERO, "years": SCALES["years"], "tiny": SCALES["tiny"]}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Palettes of two members in both precisions."""
    found = {}
    for name, scale in ALL.items():
        folder = tmp_path_factory.mktemp(name.replace(" ", "-"))
        supernet = trained(scale, folder, recipe=RECIPE)
        members = [supernet.space.maxnet, supernet.space.minnet]
        rows = mlfs.encode_data(supernet, data(scale))
        write_palette(supernet, members, rows, folder / "palette", lambda _: None, precisions=("fp32", "int8"))
        found[name] = supernet, load(folder / "palette")
    return found


def _predicted(palette: Palette, member: str) -> np.ndarray:
    """What a regressor answers whose session has only this member."""
    with TextRegressor(palette.folder, only=[member]) as regressor:
        return np.array([prediction.value for prediction in regressor.predict(TEXTS)])


@pytest.mark.parametrize("name", ["years", "tiny"])
def test_members_answer_the_same_on_every_scale(exported: Exported, name: str) -> None:
    (_, ours), (_, theirs), (factor, offset) = exported[name], exported["near zero"], ALL[name]
    assert [entry.name for entry in ours.manifest.subnets] == [entry.name for entry in theirs.manifest.subnets]
    for entry, their in zip(ours.manifest.subnets, theirs.manifest.subnets, strict=True):
        expected = _predicted(theirs, entry.name)
        rounding = 4 * np.spacing(np.float32(offset + 2 * factor)) / factor
        found = (_predicted(ours, entry.name) - offset) / factor
        np.testing.assert_allclose(found, expected, atol=1e-4 + rounding)
        for our_quality, quality in zip(entry.quality, their.quality, strict=True):
            unit = factor if quality.metric == "mean_absolute_error" else 1.0
            for edge in ("value", "low", "high"):
                assert getattr(our_quality, edge) / unit == pytest.approx(getattr(quality, edge), abs=1e-2)


def test_the_error_that_a_palette_tells_is_that_of_its_answers(exported: Exported) -> None:
    _, palette = exported["years"]
    labels = np.array(data(ALL["years"]).test.labels)
    for entry in palette.manifest.subnets:
        if entry.precision == "int8":
            continue  # one scale a batch: its answers depend on the texts beside
        told = {quality.metric: quality.value for quality in entry.quality if quality.split == "test"}
        gaps = np.abs(_predicted(palette, entry.name)[20:] - labels)
        assert told["mean_absolute_error"] == pytest.approx(gaps.mean(), abs=1e-3)
        assert entry.metric("test") == "spearman"


@pytest.mark.parametrize("name", ALL)
def test_a_palette_is_verified_by_how_far_its_answers_spread(exported: Exported, name: str, tmp_path: Path) -> None:
    _, palette = exported[name]
    assert all(checked.fault is None for checked in verify(palette))
    folder = tmp_path / "palette"
    folder.mkdir()
    for path in palette.folder.iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    probes = json.loads((folder / palette.manifest.probes).read_text())
    member = palette.manifest.subnets[0]
    error = next(quality.value for quality in member.quality if quality.metric == "mean_absolute_error")
    spread = max(error, *(float(np.std(answers)) for answers in probes["answers"].values()))
    probes["answers"][member.name][0] += 20 * TOLERANCE["fp32"] * spread
    (folder / palette.manifest.probes).write_text(json.dumps(probes))
    tiny_palette.reseal(folder)
    faults = {checked.subnet: checked.fault for checked in verify(load(folder))}
    assert faults.pop(member.name) is not None
    assert set(faults.values()) == {None}


def test_a_checkpoint_and_a_file_of_one_member_answer_in_the_unit(exported: Exported, tmp_path: Path) -> None:
    supernet, palette = exported["years"]
    member = supernet.space.maxnet
    expected = _predicted(palette, member.name)[:4]
    write_hugging_face(supernet, member, tmp_path / "hf")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "hf").eval()
    feeds = AutoTokenizer.from_pretrained(tmp_path / "hf")(TEXTS[:4], padding=True, return_tensors="pt")
    with torch.no_grad():
        found = model(feeds["input_ids"], feeds["attention_mask"]).logits[:, 0]
    np.testing.assert_allclose(found, expected, atol=2e-3)
    write_onnx(supernet, member, tmp_path / "one.onnx")
    arrays = {name: feeds[name].numpy() for name in ("input_ids", "attention_mask")}
    arrays["token_type_ids"] = np.zeros_like(arrays["input_ids"])
    (answers,) = create_session(tmp_path / "one.onnx", threads=1).run(None, arrays)
    np.testing.assert_allclose(np.asarray(answers)[:, 0], expected, atol=2e-3)
