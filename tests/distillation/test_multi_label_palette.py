"""Several labels a text, from training to answers: with labels, and from a teacher's answers alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import RECIPE, model_folder, rows, train

from edgedistill.data.dataset import TaskData
from edgedistill.data.readers import load_data
from edgedistill.distillation import mlfs
from edgedistill.distillation.models import resolve_model
from edgedistill.exporters import write_palette
from edgedistill.exporters.hugging_face import write_hugging_face
from edgedistill.palette import load
from edgedistill.runtime import MultiLabelClassifier
from edgedistill.supernet.pretrained import load_hugging_face, teacher_labels

NAMES = ("one", "two", "three")
TEXTS = [text for text, _ in rows()]
LABELS = [sorted({NAMES[int(word[1:]) % 3] for word in text.split()[:2]}) for text in TEXTS]


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_palette_answers_with_the_labels_of_lists_in_files(tmp_path: Path, kind: str) -> None:
    (tmp_path / "data").mkdir()
    for split, some in (("train", slice(None)), ("validation", slice(20)), ("test", slice(20, None))):
        pairs = list(zip(TEXTS, LABELS, strict=True))[some]
        if kind == "jsonl":
            lines = [json.dumps({"text": text, "labels": labels}) for text, labels in pairs]
        else:
            lines = ["text,labels", *(f'{text},"{", ".join(labels)}"' for text, labels in pairs)]
        (tmp_path / "data" / f"{split}.{kind}").write_text("\n".join(lines) + "\n")
    data = load_data(tmp_path / "data", "multi-label-classification", label_column="labels")
    assert data.label_names == tuple(sorted({label for labels in LABELS for label in labels}))
    source = resolve_model(model_folder(tmp_path / "model", head=""))
    begun = mlfs.build_supernet(source, data, RECIPE)
    shares = (np.sum(data.train.labels, axis=0) + 0.5) / (len(TEXTS) + 1)
    assert begun.model.classifier.bias.sigmoid().tolist() == pytest.approx(shares.tolist(), abs=1e-6)
    supernet, _ = train(begun, data, tmp_path / "supernet")
    assert list(supernet.info.scores[-1].metrics) == ["micro_f1", "macro_f1"]
    encoded = mlfs.encode_data(supernet, data)
    members = [supernet.space.maxnet, supernet.space.minnet]
    palette = write_palette(
        supernet, members, encoded, tmp_path / "palette", lambda _: None, precisions=("fp32", "int8")
    )
    assert palette.manifest.subnets[0].calibration is not None
    assert palette.manifest.subnets[0].calibration.flip_rate == 0
    for entry in palette.manifest.subnets:
        with MultiLabelClassifier(palette.folder, only=[entry.name]) as classifier:
            answers = classifier.classify([str(text) for text in data.test.texts])
        given = [[label in {one.label for one in answer.labels} for label in data.label_names] for answer in answers]
        right = np.asarray(data.test.labels, dtype=bool)
        score = 2 * (given & right).sum() / (np.sum(given) + right.sum())
        assert entry.score("test") == pytest.approx(score, abs=1e-6)  # what the manifest says is what is answered


def _taught(folder: Path) -> tuple[Any, TaskData]:
    """Return a supernet that learned from its teacher's answers alone, and the texts."""
    model_folder(folder / "model", outputs=3)
    config = json.loads((folder / "model" / "config.json").read_text())
    config |= {"problem_type": "multi_label_classification", "id2label": dict(enumerate(NAMES))}
    (folder / "model" / "config.json").write_text(json.dumps(config))
    names = teacher_labels(folder / "model", "multi-label-classification", "model")
    made: list[Any] = [(text, None) for text in TEXTS]
    texts = TaskData.from_rows(
        {"train": made, "validation": made[:20], "test": made[20:]},
        None,
        "multi-label-classification",
        label_names=names,
        unlabelled="texts",
    )
    supernet, _ = train(mlfs.build_supernet(resolve_model(folder / "model"), texts, RECIPE), texts, folder / "supernet")
    return supernet, texts


def test_a_teachers_answers_alone_make_a_palette_with_thresholds(tmp_path: Path) -> None:
    supernet, texts = _taught(tmp_path)
    assert supernet.info.labels == list(NAMES)
    assert [score.metric for score in supernet.info.scores] == ["micro_f1_to_teacher"] * 3
    assert supernet.info.scores[0].test == 1.0
    members = [supernet.space.maxnet, supernet.space.minnet]
    write_palette(supernet, members, mlfs.encode_data(supernet, texts), tmp_path / "palette", lambda _: None)
    manifest = load(tmp_path / "palette").manifest
    for entry in manifest.subnets:
        assert {quality.metric for quality in entry.quality} == {"micro_f1_to_teacher"}
        assert entry.calibration is not None
        assert entry.calibration.thresholds is not None
        assert entry.calibration.error is None
        assert len(entry.calibration.thresholds) == 3


def test_a_member_on_its_own_says_in_transformers_what_kind_of_problem_it_is(tmp_path: Path) -> None:
    supernet, _ = _taught(tmp_path)
    full = supernet.model.arch.full
    write_hugging_face(supernet, full, tmp_path / "out")
    model = load_hugging_face(tmp_path / "out", "multi-label-classification", 3)
    assert model.config.problem_type == "multi_label_classification"
    ids = torch.tensor([[2, 5, 6, 7]])
    with torch.no_grad():
        theirs = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        ours = supernet.model(ids, torch.ones_like(ids), torch.zeros_like(ids), full).logits
    torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=1e-5)
