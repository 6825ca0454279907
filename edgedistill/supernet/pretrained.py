"""Turn a Hugging Face checkpoint into an elastic encoder at full size, with a head for a task.

A checkpoint that was fine-tuned for the task already brings its own head; else the head is new.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from optimum.exporters.tasks import TasksManager
from torch import Tensor, nn
from transformers import PreTrainedModel

from edgedistill.architecture import Architecture
from edgedistill.errors import ModelError
from edgedistill.library_errors import library_errors, quiet
from edgedistill.supernet.families import Head, encoder_family_of
from edgedistill.supernet.heads import StoredHead, check_teacher, stored_head
from edgedistill.supernet.model import ElasticTransformer
from edgedistill.supernet.model_config import SAFE_LOADING, load_config
from edgedistill.supernet.sentence_files import SentenceSettings, pooling_of, read_sentence_settings
from edgedistill.tasks import TaskName, task_of

__all__ = [
    "architecture_of",
    "embedding_width",
    "has_head",
    "load_hugging_face",
    "load_pretrained",
    "sentence_settings",
    "teacher_labels",
]


def architecture_of(
    config: Any, task: TaskName, outputs: int, pooling: Literal["first", "mean"] | None
) -> Architecture:
    """Return the dimensions that a transformers config states, by the names of its model type, and the head.

    Raises:
        ModelError: the type is unsupported, or the configuration is of a kind that the encoder does not compute.
    """
    family = encoder_family_of(config.model_type)
    bare = replace(family.architecture(config), outputs=outputs)
    kind = task_of(task)
    if kind.by_words:
        return replace(bare, pooling="each")
    if kind.embeds:
        return replace(bare, pooling=pooling or "mean", normalise=True)
    return replace(bare, pooling=pooling or "first", dense=None if pooling == "mean" else family.dense)


def teacher_labels(folder: Path, task: TaskName, name: str) -> list[str] | None:
    """Check that the checkpoint can teach the task as it is, and return its labels if the task has classes.

    Args:
        folder: holds the checkpoint.
        task: what it is to teach.
        name: what to call it in a message.

    Raises:
        ModelError: it has no head for the task, or its config says that the head is for something else.
    """
    return check_teacher(folder, _config(folder), task, name)


def embedding_width(folder: Path, task: TaskName) -> int:
    """Return how many numbers a text's vector has: for sentence embeddings behind all modules, else the hidden width.

    Raises:
        ModelError: the checkpoint cannot be read, or has modules that are not supported.
    """
    hidden = int(_config(folder).hidden_size)
    if not task_of(task).embeds:
        return hidden
    projection = read_sentence_settings(folder, hidden).projection
    return hidden if projection is None else len(projection[0])


def sentence_settings(folder: Path) -> SentenceSettings:
    """Return what sentence-transformers noted next to the checkpoint.

    Raises:
        ModelError: the notes cannot be read or ask for what is not supported.
    """
    return read_sentence_settings(folder, int(_config(folder).hidden_size))


def has_head(folder: Path, task: TaskName, outputs: int) -> bool:
    """Return whether `load_pretrained` finds the task's head, of that many outputs, in the checkpoint.

    A sentence encoder needs none.

    Raises:
        ModelError: the checkpoint cannot be read.
    """
    head = task_of(task).head
    return head is None or stored_head(folder, _config(folder)) == StoredHead(head, outputs)


def _pooling(folder: Path, task: TaskName, config: Any) -> Literal["first", "mean"] | None:
    """Return what the note says, unless the task's own head, which came later, reads the first token."""
    stored = stored_head(folder, config)
    return None if stored is not None and stored.kind == task_of(task).head else pooling_of(folder)


def _head_of(arch: Architecture) -> Head | None:
    """Return which of transformers' heads the architecture's is; None where it is none of them."""
    if arch.pooling == "each":
        return "TokenClassification"
    return "SequenceClassification" if arch.dense else None


def _config(folder: Path, **changes: Any) -> Any:
    with quiet(transformers):
        return load_config(folder, encoder_family_of, **changes)


def load_hugging_face(folder: Path, task: TaskName, outputs: int) -> PreTrainedModel:
    """Load the checkpoint as transformers' own model for the task, in fp32 and eval mode.

    What the head lacks, or has in another size, is drawn from torch's generator.

    Raises:
        ModelError: transformers cannot read it, or the encoder's weights are not whole.
    """
    config = _config(folder, num_labels=outputs)
    with quiet(transformers), library_errors(ModelError, f"{folder} cannot be loaded as an encoder"):
        model_class = TasksManager.get_model_class_for_task(
            task_of(task).transformers_task, framework="pt", model_type=config.model_type
        )
        model, report = model_class.from_pretrained(
            folder, config=config, ignore_mismatched_sizes=True, output_loading_info=True, **SAFE_LOADING
        )
    assert isinstance(model, PreTrainedModel)
    _check_encoder(folder, model, report)
    return model.eval()


def _check_encoder(folder: Path, model: PreTrainedModel, report: dict[str, Any]) -> None:
    """Check that transformers found all weights but a head's: it draws at random whatever it does not find."""
    family = encoder_family_of(model.config.model_type)
    heads = tuple(f"{module}." for modules in family.heads.values() for module in modules.values())
    drawn = {*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}
    broken = sorted(name for name in drawn if not name.startswith((*heads, "pooler.")))
    tops = tuple({f"{theirs.split('.')[0]}." for theirs in family.modules.values()})
    more = sorted(
        name
        for name in report["unexpected_keys"]
        if name.removeprefix(f"{family.prefix}.").startswith(tops) and not name.endswith("position_ids")
    )
    if broken:
        raise ModelError(
            f"{folder} has no fitting tensor {broken[0]!r}; expected a complete {model.config.model_type} checkpoint"
        )
    if more:
        raise ModelError(
            f"{folder} has a tensor {more[0]!r} that its config.json has no place for; check num_hidden_layers there"
        )


def load_pretrained(folder: Path, task: TaskName, outputs: int, *, scale: float, dropout: float) -> ElasticTransformer:
    """Load the checkpoint as an elastic encoder; at full size it computes what transformers' model does.

    The head is the checkpoint's where `has_head`, else new, its classifier drawn from torch's generator. For
    sentence embeddings the classifier is what the checkpoint's Dense modules do together, without any the identity.

    Raises:
        ModelError: the checkpoint cannot be read, or is of a kind that is not supported.
    """
    reference = load_hugging_face(folder, task, outputs)
    config, family = reference.config, encoder_family_of(reference.config.model_type)
    arch = architecture_of(config, task, outputs, _pooling(folder, task, config))
    model = ElasticTransformer(arch, scale=scale, eps=family.eps(config), dropout=dropout)
    encoder = {f"{family.prefix}.{name}": tensor for name, tensor in reference.base_model.state_dict().items()}
    state = family.read(encoder | reference.state_dict(), arch, _head_of(arch))
    if task_of(task).head is None or not has_head(folder, task, outputs):
        state |= _new_classifier(folder, arch, config.initializer_range)
    model.load_state_dict(state)
    model.freeze()
    return model.eval()


def _new_classifier(folder: Path, arch: Architecture, spread: float) -> dict[str, Tensor]:
    weight, bias = torch.empty(arch.output_width, arch.hidden), torch.zeros(arch.output_width)
    if not arch.normalise:
        nn.init.normal_(weight, std=spread)
        return {"classifier.weight": weight, "classifier.bias": bias}
    projection = read_sentence_settings(folder, arch.hidden).projection or (torch.eye(arch.hidden), None)
    if len(projection[0]) != arch.outputs:
        raise ModelError(f"{folder} gives vectors of {len(projection[0])} numbers; {arch.outputs} were requested")
    return {"classifier.weight": projection[0], "classifier.bias": bias if projection[1] is None else projection[1]}
