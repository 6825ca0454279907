"""Hold what classifiers and language models do differently in training: encode rows, record a teacher, teach with it.

A classifier's outputs are few, so they are recorded. A language model's are too many, so the model itself is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from edgedistill.architecture import Architecture
from edgedistill.data.batches import Encoded, encode
from edgedistill.data.dataset import Split
from edgedistill.data.packing import pack
from edgedistill.distillation.evaluation import outputs_of
from edgedistill.distillation.recipe import Recipe
from edgedistill.distillation.teacher import FrozenDecoder, Teacher, TeacherOutputs
from edgedistill.supernet.checkpoint import Supernet
from edgedistill.supernet.label_scale import LabelScale
from edgedistill.supernet.slicing import full_tensors

__all__ = ["EncodedData", "TrainingKind", "training_kind_of"]


@dataclass(frozen=True)
class EncodedData:
    """The three splits as token ids."""

    train: Encoded
    validation: Encoded
    test: Encoded

    def scaled(self, scale: LabelScale | None) -> EncodedData:
        """Return the same rows, whose labels are standardised so to be learnt."""
        return EncodedData(*(replace(split, scale=scale) for split in (self.train, self.validation, self.test)))


class TrainingKind(Protocol):
    """Train one kind of model."""

    def encode(self, supernet: Supernet, split: Split, place: str) -> Encoded:
        """Tokenize a split; ``place`` names it in an error."""

    def record(self, supernet: Supernet, data: EncodedData, announce: Callable[[str], None]) -> Supernet:
        """Add what is needed of the model as stage 0 left it: to teach, and to score rows without labels."""

    def teacher(self, supernet: Supernet, train: Encoded, device: torch.device) -> Teacher:
        """Return the teacher that was recorded."""


class _ClassifierTraining:
    def encode(self, supernet: Supernet, split: Split, place: str) -> Encoded:  # noqa: ARG002
        info = supernet.info
        return encode(supernet.tokenizer, split, info.task, max_tokens=info.max_tokens, pad=info.pad_token_id)

    def record(self, supernet: Supernet, data: EncodedData, announce: Callable[[str], None]) -> Supernet:
        alone = data.train.labels is None  # the teacher alone says what is right
        needed = {
            "train": alone or Recipe.model_validate(supernet.info.recipe).teacher_source == "frozen",
            "validation": alone or data.validation.labels is None,
            "test": data.test.labels is None,
        }
        splits = [name for name, is_needed in needed.items() if is_needed and name not in supernet.teacher]
        if splits:
            announce("asking the teacher")
        full = supernet.model.arch.full
        outputs = {name: outputs_of(supernet.model, full, getattr(data, name)) for name in splits}
        return replace(supernet, teacher={**supernet.teacher, **outputs})

    def teacher(self, supernet: Supernet, train: Encoded, device: torch.device) -> Teacher:  # noqa: ARG002
        return TeacherOutputs(supernet.teacher["train"], train)


class _LanguageModelTraining:
    def encode(self, supernet: Supernet, split: Split, place: str) -> Encoded:
        info = supernet.info
        return pack(
            supernet.tokenizer,
            [text for text in split.texts if isinstance(text, str)],
            place,
            vocabulary=info.architecture.vocabulary,
            tokens=info.max_tokens,
            pad=info.pad_token_id,
            ends=info.generating.eos_token_ids,
        )

    def record(self, supernet: Supernet, data: EncodedData, announce: Callable[[str], None]) -> Supernet:  # noqa: ARG002
        if Recipe.model_validate(supernet.info.recipe).teacher_source != "frozen" or supernet.teacher:
            return supernet
        tensors = full_tensors(supernet.model)
        return replace(supernet, teacher={name: tensor.cpu().clone() for name, tensor in tensors.items()})

    def teacher(self, supernet: Supernet, train: Encoded, device: torch.device) -> Teacher:  # noqa: ARG002
        return FrozenDecoder(supernet.model.arch, supernet.model.eps, supernet.teacher, device)


def training_kind_of(arch: Architecture) -> TrainingKind:
    """Return how a model of this architecture is trained."""
    return _LanguageModelTraining() if arch.causal else _ClassifierTraining()
