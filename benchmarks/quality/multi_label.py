"""Compare a palette for several labels a text with its teacher and with a linear model of each label.

Claim: on the slot types that a sentence of ATIS has, every member of a palette, in fp32 and in int8, is within three
points of micro F1 of its teacher. Next to them: one logistic regression a label over word counts. All of them decide
at thresholds that are fitted on validation; at 0.5 they are reported too. The regressions' counts (words and pairs of
words, or TF-IDF of words and parts of words) and C are those that validation finds best. Training is short, so scores
are not the best.

Needs: the folder of ATIS
Takes: about 30 minutes on one core
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from benchmarks.shared import output, training_runs
from benchmarks.shared.arguments import DataFolder, WorkFolder
from edgedistill.data.dataset import TaskData
from edgedistill.data.rows import Row
from edgedistill.distillation import mlfs
from edgedistill.distillation.evaluation import outputs_of
from edgedistill.distillation.models import resolve_model
from edgedistill.distillation.recipe import Recipe, StageRecipe
from edgedistill.exporters import write_palette
from edgedistill.exporters.quality import bootstrap
from edgedistill.palette import Palette, load
from edgedistill.runtime import MultiLabelClassifier
from edgedistill.tasks import task_of
from edgedistill.tasks.word_counts import text_features

TASK = task_of("multi-label-classification")
STEPS = {"teacher": 980, "widths": 10, "depths": 240}
SPLITS = ("train", "validation", "test")
INVERSE_PENALTIES = (1.0, 10.0, 100.0)
_Numbers = NDArray[np.floating[Any]]


def main(data_folder: DataFolder, work: WorkFolder) -> None:
    """Train and export, and save the micro and macro F1 of everything that answers."""
    data = read(data_folder)
    labels_a_text = float(TASK.targets(data.test.labels or (), 0).sum(1).mean())
    output.log(f"{len(data.label_names)} labels; {labels_a_text:.2f} a text of test")
    linear = {name: scored for name, *scored in _linear(data)}
    teacher, palette, steps = _trained(data, work)
    result = {
        "data": "atis",
        "labels": len(data.label_names),
        "texts": [len(getattr(data, split).texts) for split in SPLITS],
        "labels_a_text": labels_a_text,
        "steps": steps,
        "teacher": _f1(data, *teacher),
        "linear": _best_linear(data, linear),
        "members": {entry.name: _member(palette, entry.name, data) for entry in palette.manifest.subnets},
    }
    output.save_result("multi-label-atis", result)


def read(folder: Path) -> TaskData:
    """Read ATIS as texts and the types of their slots."""
    rows = {split: [_row(line) for line in (folder / f"{split}.jsonl").read_text().splitlines()] for split in SPLITS}
    return TaskData.from_rows(rows, "atis", "multi-label-classification")


def _row(line: str) -> Row:
    record = json.loads(line)
    return " ".join(record["tokens"]), tuple(sorted({tag[2:] for tag in record["tags"] if tag != "O"}))


def _trained(data: TaskData, work: Path) -> tuple[tuple[_Numbers, _Numbers], Palette, list[int]]:
    """Return the teacher's outputs on validation and test, the palette, and the steps of each stage."""
    stages = {
        name: StageRecipe(epochs=0.01, min_steps=steps, learning_rate=rate, parameters=parameters)
        for (name, steps), rate, parameters in zip(
            STEPS.items(), (1e-3, 2e-4, 4e-4), ("low-rank", "full", "full"), strict=True
        )
    }
    shares = {"depth_shares": (1.0, 2 / 3, 1 / 3), "head_shares": (1.0, 0.5), "ffn_shares": (1.0, 0.5, 0.25)}
    recipe = Recipe.model_validate(Recipe().model_dump() | shares | {"max_tokens": 48, "precision": "fp32"} | stages)
    folder, kept = work / "supernet", work / "teacher.npz"
    supernet = training_runs.train(
        mlfs.build_supernet(resolve_model(training_runs.MODEL), data, recipe), data, folder, until=0
    )
    encoded = mlfs.encode_data(supernet, data)
    if not kept.exists():
        model = supernet.model
        validation, test = (outputs_of(model, model.arch.full, getattr(encoded, split)) for split in SPLITS[1:])
        np.savez(kept, validation=validation.numpy(), test=test.numpy())
    supernet = training_runs.train(supernet, data, folder)
    place = work / "palette"
    if not (place / "manifest.json").exists():
        space = supernet.space
        members = [space.maxnet, space.middle(supernet.model.arch), space.minnet]
        write_palette(supernet, members, encoded, place, output.log, precisions=("fp32", "int8"))
    stored = np.load(kept)
    teacher = stored["validation"].astype(np.float64), stored["test"].astype(np.float64)
    return teacher, load(place), [score.steps for score in supernet.info.scores]


def _f1(data: TaskData, validation: _Numbers, test: _Numbers) -> dict[str, Any]:
    """Score logits at 0.5, and at thresholds that are fitted on validation."""
    targets = TASK.targets(data.validation.labels or (), 0)
    thresholds = TASK.thresholds(TASK.scores(validation), targets)
    decided = TASK.at_thresholds(test, 1.0, thresholds)
    return {"at_half": _scores(data, test), **_scores(data, decided), "interval": _interval(data, decided)}


def _scores(data: TaskData, logits: _Numbers) -> dict[str, float]:
    return TASK.metrics(logits, data.test.labels or (), data.label_names)


def _interval(data: TaskData, logits: _Numbers) -> list[float]:
    values_of, examples = TASK.resampled(logits, data.test.labels, data.label_names, None)
    return list(bootstrap(values_of, examples, _scores(data, logits))[TASK.headline])


def _linear(data: TaskData) -> Iterator[tuple[str, _Numbers, _Numbers]]:
    """Give each regression's logits on validation and test."""
    for name, (train, *others) in _counts(data).items():
        for penalty in INVERSE_PENALTIES:
            model = OneVsRestClassifier(LogisticRegression(C=penalty, solver="liblinear"))
            output.log(f"{name}, C = {penalty:g}")
            model.fit(train, np.asarray(data.train.labels))
            validation, test = (model.decision_function(rows) for rows in others)
            yield f"{name}, C = {penalty:g}", validation, test


def _counts(data: TaskData) -> dict[str, list[Any]]:
    texts = [getattr(data, split).texts for split in SPLITS]
    counts = CountVectorizer(ngram_range=(1, 2), tokenizer=str.split, token_pattern=None).fit(texts[0])
    weighted = [text_features(texts[0], own)[1] for own in texts]
    return {"word counts": [counts.transform(own) for own in texts], "TF-IDF of words and their parts": weighted}


def _best_linear(data: TaskData, logits: dict[str, list[_Numbers]]) -> dict[str, Any]:
    """Return the scores of the regressions that are best on validation, for each kind of count."""
    labels = data.validation.labels or ()
    on_validation = {
        name: TASK.metrics(own[0], labels, data.label_names)[TASK.headline] for name, own in logits.items()
    }
    best: dict[str, str] = {}
    for name in sorted(on_validation, key=on_validation.__getitem__):
        best[name.partition(", C")[0]] = name
    return {kind: _f1(data, *logits[name]) | {"chosen": name} for kind, name in best.items()}


def _member(palette: Palette, name: str, data: TaskData) -> dict[str, Any]:
    """Score what the runtime answers with this member, at its thresholds and at 0.5."""
    entry = palette.manifest.subnet(name)
    calibration = entry.calibration
    assert calibration is not None
    with MultiLabelClassifier(palette.folder, only=[name]) as classifier:
        answers = classifier.classify([str(text) for text in data.test.texts])
    given = [{one.label for one in answer.labels} for answer in answers]
    decided = np.array([[1.0 if label in own else -1.0 for label in data.label_names] for own in given])
    scores = np.array([answer.scores for answer in answers])
    return {
        **_scores(data, decided),
        "interval": _interval(data, decided),
        "at_half": _scores(data, scores - 0.5),
        "layer_parameters": entry.layer_parameters,
        "precision": entry.precision,
        "size_mb": entry.size_mb,
        "temperature": calibration.temperature,
        "calibration_error": [calibration.error_before, calibration.error],
        "other_labels": calibration.flip_rate,
    }
