"""What commands tell of a regression: the mean absolute error beside the rank correlation, in the labels' unit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import invoke, one_line
from tiny_regression import SCALES, TEXTS, data
from tiny_training import model_folder

_ERROR = "mean_absolute_error"
_RECIPE = """
rank = 2
batch_size = 8
head_shares = [1.0]
ffn_shares = [1.0, 0.5]
depth_shares = [1.0]
teacher = {epochs = 6, learning_rate = 0.01}
widths = {epochs = 1, min_steps = 1}
depths = {epochs = 1, min_steps = 1}
"""


def _write(folder: Path, labels: list[object]) -> Path:
    folder.mkdir()
    lines = [json.dumps({"text": text, "label": label}) for text, label in zip(TEXTS, labels, strict=True)]
    for split, part in (("train", lines), ("validation", lines[:20]), ("test", lines[20:])):
        (folder / f"{split}.jsonl").write_text("\n".join(part))
    return folder


def _train(folder: Path, place: Path, *more: str) -> tuple[object, ...]:
    (folder / "recipe.toml").write_text(_RECIPE)
    command = ("train", model_folder(folder / "model", head=""), "--task", "text-regression", "--data", place)
    return (*command, "--recipe", folder / "recipe.toml", "-o", folder / "out", *more)


@pytest.mark.slow
def test_every_command_tells_the_error_in_the_unit_of_the_labels(tmp_path: Path) -> None:
    years = [str(int(label)) for label in data(SCALES["years"]).train.labels or ()]  # whole numbers as strings
    trained = invoke(*_train(tmp_path, _write(tmp_path / "years", years), "--json"))
    assert trained.exit_code == 0, trained.output
    stages = json.loads(trained.stdout)["stages"]
    assert all(0 < stage["metrics"][_ERROR] < 1 for stage in stages)
    assert "mean absolute error" in trained.stderr

    found = json.loads(invoke("search", tmp_path / "out", "--count", 2, "--json").stdout)
    assert found["metric"] == "spearman"
    assert all(0 < member[_ERROR] < 1 for member in (*found["family"], *found["front"]))
    assert "absolute" in invoke("search", tmp_path / "out", "--count", 2).stdout

    export = ("export", tmp_path / "out", "-o", tmp_path / "palette", "--no-profile", "--count", 2, "--json")
    exported = json.loads(invoke(*export).stdout)
    assert all(0 < member[_ERROR] < 1 for member in exported["subnets"])
    shown = json.loads(invoke("inspect", tmp_path / "palette", "--json").stdout)
    told = {(quality["metric"], quality["split"]) for quality in next(iter(shown["quality"].values()))}
    assert told == {(metric, split) for metric in ("spearman", "pearson", _ERROR) for split in ("validation", "test")}
    table = invoke("inspect", tmp_path / "palette").stdout
    assert "pearson" in table
    assert f"{exported['subnets'][0][_ERROR]:.4g}" in table
    assert invoke("verify", tmp_path / "palette").exit_code == 0


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([1.0] * 20 + [1e39] * 20, "train.jsonl, line 21 has the label 1e+39; expected a number that fp32 holds"),
        ([5] * 40, "every row of train has the label"),
        ([1e6 + i % 3 * 1e-3 for i in range(40)], "spread by 0.000821 around 1000000"),
    ],
    ids=["beyond fp32", "all alike", "too close"],
)
def test_labels_that_cannot_be_learnt_are_refused_in_one_line(labels: list[object], says: str, tmp_path: Path) -> None:
    one_line(invoke(*_train(tmp_path, _write(tmp_path / "data", labels))), says)
    assert not (tmp_path / "out" / "supernet.json").exists()
