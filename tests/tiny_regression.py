"""Texts whose number is told by one word, on any scale: training in process, in seconds."""

from __future__ import annotations

from pathlib import Path

import torch
from tiny_training import RECIPE, model_folder, train
from transformers import AutoModelForSequenceClassification

from edgedistill.data.dataset import TaskData
from edgedistill.data.rows import Row
from edgedistill.distillation import mlfs
from edgedistill.distillation.models import resolve_model
from edgedistill.distillation.recipe import Recipe, StageRecipe
from edgedistill.supernet.checkpoint import Supernet

Scale = tuple[float, float]  # factor and offset
NEAR_ZERO: Scale = (1.0, 0.0)
# Factors are powers of two: they cost no digits, so that a change of scale changes nothing but the answers' rounding.
SCALES: dict[str, Scale] = {
    "years": (1.0, 2000.0),
    "prices": (2.0**17, 2.0**17),
    "negative": (8.0, -4096.0),
    "tiny": (2.0**-10, 0.0),
    "huge": (2.0**100, 0.0),
}
_LONG = StageRecipe(epochs=12, learning_rate=0.01, parameters="low-rank")
RECIPE_LONG = Recipe.model_validate(RECIPE.model_dump() | {"teacher": _LONG.model_dump()})
TEXTS = [f"w{i % 3} w{5 + i % 7} w{20 + i % 5}" for i in range(40)]
VALUES = [float(i % 3) for i in range(40)]


def data(scale: Scale, labels: list[float] | None = None) -> TaskData:
    """Forty rows to learn from; twenty to choose by, and as many to report on."""
    factor, offset = scale
    rows: list[Row] = [(text, offset + factor * v) for text, v in zip(TEXTS, labels or VALUES, strict=True)]
    return TaskData.from_rows({"train": rows, "validation": rows[:20], "test": rows[20:]}, "rows", "text-regression")


def without_labels() -> TaskData:
    """The same texts, whose numbers only a teacher knows."""
    rows: list[Row] = [(text, None) for text in TEXTS]
    splits = {"train": rows, "validation": rows[:20], "test": rows[20:]}
    return TaskData.from_rows(splits, None, "text-regression", unlabelled="texts.txt")


def regressor(folder: Path, scale: Scale) -> Path:
    """A tiny BERT with a head of its own, whose answers are on that scale."""
    model_folder(folder, outputs=1)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    factor, offset = scale
    with torch.no_grad():
        model.classifier.weight.mul_(factor)
        model.classifier.bias.mul_(factor).add_(offset)
    model.save_pretrained(folder)
    return folder


def taught(source: Path, given: TaskData, folder: Path, *, fine_tuned: bool = True) -> Supernet:
    """A supernet of that regressor."""
    recipe = RECIPE_LONG.model_copy(update={"fine_tuned": fine_tuned})
    return train(mlfs.build_supernet(resolve_model(source), given, recipe), given, folder)[0]


def trained(scale: Scale, folder: Path, *, until: int = 2, recipe: Recipe = RECIPE_LONG) -> Supernet:
    """A supernet of a tiny BERT with a new head."""
    source = resolve_model(model_folder(folder / "model", head=""))
    given = data(scale)
    return train(mlfs.build_supernet(source, given, recipe), given, folder / "supernet", until=until)[0]
