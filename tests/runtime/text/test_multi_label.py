"""Labels above their thresholds, by the subnet that answered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import plain_answers
import pytest
import tiny_palette

from edgedistill.errors import PaletteError
from edgedistill.palette import load
from edgedistill.runtime import AdaptiveSession, MultiLabelClassifier

TEXTS = ["turn on the lamp", "play some music", "set a timer", "lamp"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_palette.set_thresholds(
        tiny_palette.write(tmp_path_factory.mktemp("labels") / "palette", tiny_palette.LABEL_SETS)
    )


@pytest.mark.parametrize("subnet", tiny_palette.WIDTHS)
def test_labels_are_those_that_reach_the_members_own_thresholds(folder: Path, subnet: str) -> None:
    with MultiLabelClassifier(folder, only=[subnet], threads=1) as classifier:
        answers = classifier.classify(TEXTS)
    for text, answer in zip(TEXTS, answers, strict=True):
        logits = plain_answers.outputs(folder, subnet, text)
        scores = 1 / (1 + np.exp(-logits / tiny_palette.TEMPERATURES[subnet]))
        assert answer.scores == pytest.approx(scores.tolist(), abs=1e-6)
        reached = [
            (label, score)
            for label, score, threshold in zip(
                tiny_palette.LABELS, scores, tiny_palette.THRESHOLDS[subnet], strict=True
            )
            if score >= threshold
        ]
        assert [one.label for one in answer.labels] == [label for label, _ in sorted(reached, key=lambda one: -one[1])]
        assert answer.subnet == subnet
        assert answer.latency_ms > 0
        assert not answer.truncated


def test_without_calibration_a_label_takes_a_score_of_half(tmp_path: Path) -> None:
    folder = tiny_palette.write(tmp_path / "palette", tiny_palette.LABEL_SETS)
    with MultiLabelClassifier(folder, threads=1) as classifier:
        for answer in classifier.classify(TEXTS):
            assert len(answer.labels) == sum(score >= 0.5 for score in answer.scores)


def test_another_task_is_refused(tiny: Path) -> None:
    with pytest.raises(PaletteError, match="for text-classification: TextClassifier answers it"):
        MultiLabelClassifier(tiny)


@pytest.mark.parametrize("thresholds", [None, [0.5], [0.5] * 4])
def test_a_palette_without_a_threshold_for_each_label_is_refused(
    folder: Path, tmp_path: Path, thresholds: list[float] | None
) -> None:
    written = tiny_palette.set_thresholds(tiny_palette.write(tmp_path / "palette", tiny_palette.LABEL_SETS))
    first, *others = load(folder).manifest.subnets
    assert first.calibration is not None
    wrong = first.model_copy(update={"calibration": first.calibration.model_copy(update={"thresholds": thresholds})})
    with pytest.raises(PaletteError, match="thresholds of large are not one for each label"):
        load(tiny_palette.reseal(written, subnets=[wrong, *others]))


def test_a_session_that_is_open_stays_open(folder: Path) -> None:
    with AdaptiveSession(folder, threads=1) as session:
        with MultiLabelClassifier(session) as classifier:
            before = classifier.classify(TEXTS)
        assert [one.scores for one in MultiLabelClassifier(session).classify(TEXTS)] == [one.scores for one in before]
