"""A Hugging Face checkpoint becomes an elastic encoder at full size, with a head for a task.

A checkpoint that was fine-tuned for the task already brings its own head; else the head is new.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from optimum.exporters.tasks import TasksManager
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import PreTrainedModel

from edgedistill.errors import ModelError
from edgedistill.subnet import Architecture, TaskName
from edgedistill.supernet.encoder import ElasticEncoder
from edgedistill.supernet.families import Head, family_of
from edgedistill.supernet.model_config import SAFE_LOADING, load_config
from edgedistill.supernet.weight_files import WEIGHTS
from edgedistill.utf8 import read_text_file

__all__ = [
    "architecture_of",
    "has_head",
    "hidden_width",
    "labels_of",
    "load_hugging_face",
    "load_pretrained",
    "pooling_of",
    "quiet",
]

_POOLING: dict[str, Literal["first", "mean"]] = {
    "mean": "mean",
    "cls": "first",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "first",
}
_MODULES = ("Transformer", "Pooling", "Normalize")  # of sentence-transformers
_HEADS: dict[TaskName, Head] = {
    "text-classification": "SequenceClassification",
    "text-regression": "SequenceClassification",
    "token-classification": "TokenClassification",
}
# Transformers' tasks, where they are called otherwise.
_TASKS = {"text-regression": "text-classification", "sentence-embedding": "feature-extraction"}


def pooling_of(folder: Path) -> Literal["first", "mean"] | None:
    """How the model was trained to sum up a text, by sentence-transformers' note; None where there is no note.

    Raises:
        ModelError: the note names another way of pooling, or cannot be read.
    """
    note = folder / "1_Pooling" / "config.json"
    if not note.is_file():
        return None
    try:
        settings = json.loads(read_text_file(note))
        older = [key for key, value in settings.items() if value is True and key.startswith("pooling_mode_")]
        mode = str(settings.get("pooling_mode", ", ".join(older)))
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"{note} cannot be read; expected sentence-transformers' pooling settings") from error
    if mode not in _POOLING:
        raise ModelError(f"{note} asks for pooling {mode!r}; supported are mean and cls")
    return _POOLING[mode]


def architecture_of(
    config: Any, task: TaskName, outputs: int, pooling: Literal["first", "mean"] | None
) -> Architecture:
    """The dimensions that a transformers config states, by whatever name its model type gives them, and the head.

    Raises:
        ModelError: the type is unsupported, or the configuration is of a kind that the encoder does not compute.
    """
    family = family_of(config.model_type)
    family.check(config)
    bare = Architecture(
        model_type=config.model_type,
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        head_size=config.hidden_size // config.num_attention_heads,
        ffn=getattr(config, family.ffn),
        vocabulary=config.vocab_size,
        positions=family.positions(config),
        token_types=family.token_types(config),
        outputs=outputs,
        dense=None,
    )
    if task == "token-classification":
        return replace(bare, pooling="each")
    if task == "sentence-embedding":
        return replace(bare, pooling=pooling or "mean", normalise=True)
    return replace(bare, pooling=pooling or "first", dense=None if pooling == "mean" else family.dense)


def labels_of(folder: Path) -> list[str] | None:
    """The labels of the head that the checkpoint was fine-tuned with, in the order of its outputs.

    None where the weights hold no head.

    Raises:
        ModelError: the checkpoint cannot be read, or its config names fewer labels than the head has outputs.
    """
    config = _config(folder)
    stored = _stored_head(folder, config)
    if stored is None:
        return None
    try:
        return [str(config.id2label[index]) for index in range(stored[1])]
    except KeyError as error:
        raise ModelError(
            f"{folder / 'config.json'} has no label for output {error} of the head's {stored[1]}; add it to id2label"
        ) from error


def hidden_width(folder: Path) -> int:
    """The width of the checkpoint's states.

    Raises:
        ModelError: the checkpoint cannot be read.
    """
    return int(_config(folder).hidden_size)


def has_head(folder: Path, task: TaskName, outputs: int) -> bool:
    """Whether `load_pretrained` finds the task's head, of that many outputs, in the checkpoint.

    A sentence encoder needs none.

    Raises:
        ModelError: the checkpoint cannot be read.
    """
    return task == "sentence-embedding" or _stored_head(folder, _config(folder)) == (_HEADS[task], outputs)


def _pooling(folder: Path, task: TaskName, config: Any) -> Literal["first", "mean"] | None:
    """What the note says, unless the task's own head, which came later, reads the first token."""
    stored = _stored_head(folder, config)
    return None if stored is not None and stored[0] == _HEADS.get(task) else pooling_of(folder)


def _head_of(arch: Architecture) -> Head | None:
    """Which of transformers' heads the architecture's is; None: none of them."""
    if arch.pooling == "each":
        return "TokenClassification"
    return "SequenceClassification" if arch.dense else None


def _stored_head(folder: Path, config: Any) -> tuple[Head, int] | None:
    """The head that the weights hold, and how many outputs it has."""
    try:
        with safe_open(folder / WEIGHTS, "pt") as file:
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{folder / WEIGHTS} cannot be read: {error}; get it anew") from error
    for head, modules in family_of(config.model_type).heads.items():
        is_its_class = any(name.endswith(f"For{head}") for name in config.architectures or ())
        if is_its_class and all(f"{module}.weight" in shapes for module in modules.values()):
            return head, shapes[f"{modules['classifier']}.weight"][0]
    return None


def _config(folder: Path, **changes: Any) -> Any:
    with quiet():
        return load_config(folder, family_of, **changes)


def load_hugging_face(folder: Path, task: TaskName, outputs: int) -> PreTrainedModel:
    """The checkpoint as transformers' own model for the task, in fp32 and eval mode.

    What the head lacks, or has in another size, is drawn anew from torch's generator.

    Raises:
        ModelError: transformers cannot read it, or the encoder's weights are not whole.
    """
    config = _config(folder, num_labels=outputs)
    with quiet():
        try:
            name = _TASKS.get(task, task)
            model_class = TasksManager.get_model_class_for_task(name, framework="pt", model_type=config.model_type)
            model, report = model_class.from_pretrained(
                folder, config=config, ignore_mismatched_sizes=True, output_loading_info=True, **SAFE_LOADING
            )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"{folder} cannot be loaded as an encoder: {str(error).splitlines()[0]}") from error
    assert isinstance(model, PreTrainedModel)
    _check_encoder(folder, model, report)
    return model.eval()


def _check_encoder(folder: Path, model: PreTrainedModel, report: dict[str, Any]) -> None:
    """Transformers draws at random whatever it does not find; only of a head may it."""
    family = family_of(model.config.model_type)
    heads = tuple(f"{module}." for modules in family.heads.values() for module in modules.values())
    drawn = {*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}
    broken = sorted(name for name in drawn if not name.startswith((*heads, "pooler.")))
    if broken:
        raise ModelError(
            f"{folder} has no fitting tensor {broken[0]!r}; expected a complete {model.config.model_type} checkpoint"
        )


def load_pretrained(folder: Path, task: TaskName, outputs: int, *, scale: float, dropout: float) -> ElasticEncoder:
    """The checkpoint as an elastic encoder; at full size it computes what transformers' model does.

    The head is the checkpoint's where `has_head`, else new, its classifier drawn from torch's generator. For
    sentence embeddings the classifier is the identity, so that the outputs are the pooled states.

    Raises:
        ModelError: the checkpoint cannot be read, or is of a kind that is not supported.
    """
    if task == "sentence-embedding":
        _refuse_more_modules(folder)
    reference = load_hugging_face(folder, task, outputs)
    config, family = reference.config, family_of(reference.config.model_type)
    arch = architecture_of(config, task, outputs, _pooling(folder, task, config))
    model = ElasticEncoder(arch, scale=scale, eps=family.eps(config), dropout=dropout)
    encoder = {f"{family.prefix}.{name}": tensor for name, tensor in reference.base_model.state_dict().items()}
    state = family.read(encoder | reference.state_dict(), arch, _head_of(arch))
    if task == "sentence-embedding" or not has_head(folder, task, outputs):
        state |= _new_classifier(folder, arch, config.initializer_range)
    model.load_state_dict(state)
    model.freeze()
    return model.eval()


def _refuse_more_modules(folder: Path) -> None:
    """A sentence encoder whose vectors go through a layer of their own behind the pooling is not computed."""
    note = folder / "modules.json"
    try:
        modules = json.loads(read_text_file(note)) if note.is_file() else []
        kinds = [str(module["type"]).rsplit(".", 1)[-1] for module in modules]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{note} cannot be read; expected sentence-transformers' list of modules") from error
    more = [kind for kind in kinds if kind not in _MODULES]
    if more:
        raise ModelError(f"{note} has a module {more[0]}; supported are {', '.join(_MODULES)}")


def _new_classifier(folder: Path, arch: Architecture, spread: float) -> dict[str, Tensor]:
    weight = torch.empty(arch.outputs, arch.hidden)
    if not arch.normalise:
        nn.init.normal_(weight, std=spread)
    elif arch.outputs == arch.hidden:
        nn.init.eye_(weight)
    else:
        raise ModelError(f"{folder} gives vectors of {arch.hidden} numbers; {arch.outputs} were asked for")
    return {"classifier.weight": weight, "classifier.bias": torch.zeros(arch.outputs)}


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' notes on heads that are new and its progress bars."""
    import transformers

    logger = transformers.logging
    level = logger.get_verbosity()
    logger.set_verbosity(logging.CRITICAL)
    logger.disable_progress_bar()
    try:
        yield
    finally:
        logger.set_verbosity(level)
