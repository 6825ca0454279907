"""Choose the mean and spread of a regression: of its labels or, without labels, of the teacher's answers."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import torch
from tokenizers import Tokenizer

from edgedistill.data.batches import Encoded, encode
from edgedistill.data.dataset import Split, TaskData
from edgedistill.distillation.evaluation import outputs_of
from edgedistill.distillation.processes import as_the_first
from edgedistill.distillation.recipe import Recipe
from edgedistill.supernet.checkpoint import Supernet
from edgedistill.supernet.label_scale import LabelScale
from edgedistill.supernet.model import ElasticTransformer
from edgedistill.tasks import task_of

__all__ = ["label_scale_of", "scaled_by_teacher", "standardise_head"]

_SAMPLED_ROWS = 256


def label_scale_of(data: TaskData) -> LabelScale | None:
    """Return the scale of the labels of train; None without labels, or where they are not numbers to learn.

    Raises:
        DataError: fp32 cannot tell the labels apart.
    """
    if not task_of(data.task).scales_labels or data.train.labels is None:
        return None
    return LabelScale.fit(data.train.labels, f"{data.source}: the labels of train")


def standardise_head(model: ElasticTransformer, tokenizer: Tokenizer, pad: int, data: TaskData, recipe: Recipe) -> None:
    """Let the head that a checkpoint brought begin where new ones do, where numbers are learnt from labels.

    A teacher's answers are in the unit of the labels. Others learn these yet, and may have had another unit before:
    they begin with the mean and the spread of what they answer themselves.
    """
    scale, head = label_scale_of(data), model.classifier
    if scale is None or head is None:
        return
    if recipe.fine_tuned:
        scale.unfold(head)
        return
    texts = data.train.texts
    chosen = random.Random(f"{recipe.seed}-head").sample(range(len(texts)), min(_SAMPLED_ROWS, len(texts)))
    split = Split(tuple(texts[row] for row in chosen), None)
    most = min(recipe.max_tokens, model.arch.positions)
    rows = encode(tokenizer, split, data.task, max_tokens=most, pad=pad)
    own = LabelScale.of(outputs_of(model, model.arch.full, rows)[:, 0])
    (own if own.spread > 0 else LabelScale(mean=own.mean, spread=1.0)).unfold(head)


def scaled_by_teacher(supernet: Supernet, train: Encoded, announce: Callable[[str], None]) -> Supernet:
    """Return a supernet whose head and recorded answers are standardised, where a regression has no labels.

    Others are returned as they are, and so is what has done a stage.

    Raises:
        DataError: fp32 cannot tell the teacher's answers apart.
    """
    info = supernet.info
    has_scale = info.scores or info.label_scale is not None
    if not task_of(info.task).scales_labels or train.labels is not None or has_scale:
        return supernet
    announce("asking the teacher")
    model = supernet.model
    assert model.classifier is not None
    answers = outputs_of(model, model.arch.full, train)
    scale = as_the_first(LabelScale.fit(answers[:, 0], f"{info.base_model}: its answers to {info.data.unlabelled}"))
    scale.unfold(model.classifier)
    targets = torch.from_numpy(scale.standardised(answers)).float()
    return replace(
        supernet, info=info.model_copy(update={"label_scale": scale}), teacher={**supernet.teacher, "train": targets}
    )
