"""A checkpoint with a tokenizer, and rows to learn from: small, but the whole of training runs on them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import tiny_encoder
import torch
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from edgedistill.data.batches import Encoded
from edgedistill.data.dataset import TaskData
from edgedistill.data.rows import Row
from edgedistill.distillation import loop, mlfs, resume
from edgedistill.distillation.accelerator import accelerator_for
from edgedistill.distillation.loop import StepReport
from edgedistill.distillation.recipe import Recipe, StageRecipe
from edgedistill.supernet import checkpoint
from edgedistill.supernet.checkpoint import Supernet

WORDS = [f"w{i}" for i in range(40)]
STAGE = StageRecipe(epochs=1, learning_rate=0.01, parameters="low-rank")
RECIPE = Recipe(
    rank=2,
    batch_size=8,
    teacher=STAGE,
    widths=STAGE,
    depths=STAGE,
    head_shares=(1.0, 1 / 3),
    ffn_shares=(1.0, 0.5),
    depth_shares=(1.0, 0.5),
)
SHORT_RECIPE_FILE = """
rank = 2
batch_size = 8
head_shares = [1.0, 0.3333333333333333]
ffn_shares = [1.0, 0.5]
teacher = {epochs = 1, min_steps = 1}
widths = {epochs = 1, min_steps = 1}
depths = {epochs = 1, min_steps = 1}
"""


def model_folder(
    folder: Path,
    *,
    outputs: int = 2,
    head: str = "SequenceClassification",
    words: Sequence[str] = WORDS,
    **sizes: int,
) -> Path:
    """A tiny BERT with a tokenizer of these words."""
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", *words])}
    sizes = {"vocab_size": max(50, len(vocabulary))} | sizes
    tiny_encoder.hugging_face_checkpoint(folder, num_labels=outputs, head=head, **sizes)
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    return folder


def rows(count: int = 40) -> list[Row]:
    """Texts of unequal length with the labels even and odd."""
    return [(" ".join(f"w{i % k}" for k in range(2, 4 + i % 5)), "even" if i % 2 == 0 else "odd") for i in range(count)]


def data() -> TaskData:
    """Forty rows to learn from; twenty to choose by, and as many to report on."""
    made = rows()
    return TaskData.from_rows({"train": made, "validation": made[:20], "test": made[20:]}, "rows")


@dataclass
class Log:
    """A watcher that keeps what it is told."""

    reports: list[StepReport] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)

    def step(self, report: StepReport) -> None:
        self.reports.append(report)


def train(supernet: Supernet, given: TaskData, folder: Path, *, until: int = 2) -> tuple[Supernet, Log]:
    """Train on this process alone."""
    log = Log()
    recipe = Recipe.model_validate(supernet.info.recipe)
    trained = mlfs.train(
        supernet,
        given,
        folder,
        log.step,
        announce=log.titles.append,
        accelerator=accelerator_for(recipe),
        until=until,
    )
    return trained, log


class Killed(BaseException):
    """As SIGKILL, from inside: nothing that catches errors catches it."""


def train_with_kills(
    begin: Callable[[], Supernet], given: TaskData, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Supernet, Log]:
    """Train, killed at a step of each stage: some steps after what was saved, so that these are done again."""
    monkeypatch.setattr(loop, "_SAVED_EVERY_S", 0.0)
    real = resume.save_state
    for stage, last_saved in ((0, 3), (1, 2), (2, 4)):

        def save(place: Path, position: resume.Position, *rest: Any, at: tuple[int, int] = (stage, last_saved)) -> None:
            if (position.stage, position.step) > at:
                raise Killed
            real(place, position, *rest)

        monkeypatch.setattr(resume, "save_state", save)
        begun = checkpoint.load(folder) if folder.exists() else begin()
        with pytest.raises(Killed):
            train(begun, given, folder)
        assert checkpoint.load(folder).info.stages == list(range(stage))
    monkeypatch.setattr(resume, "save_state", real)
    parts, rest = train(checkpoint.load(folder), given, folder)
    assert rest.reports[0].step == 5
    return parts, rest


def first_tokens() -> Encoded:
    """The label is which of five tokens the text begins with."""
    rng = random.Random(0)
    labels = tuple(rng.randrange(5) for _ in range(96))
    ids = tuple((1, 10 + label, *(rng.randrange(20, 50) for _ in range(rng.randrange(6)))) for label in labels)
    return Encoded(ids, tuple((0,) * len(row) for row in ids), labels, None, 0)


def same_weights(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], tolerance: float) -> None:
    """Fail where a tensor differs by more."""
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, atol=tolerance, rtol=tolerance, msg=name)
