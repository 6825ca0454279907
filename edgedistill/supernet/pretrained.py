"""A Hugging Face checkpoint becomes an elastic encoder at full size."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from optimum.exporters.tasks import TasksManager
from optimum.utils import NormalizedConfigManager
from transformers import AutoConfig, PreTrainedModel

from edgedistill.errors import ModelError
from edgedistill.subnet import Architecture
from edgedistill.supernet.encoder import ElasticEncoder
from edgedistill.supernet.families import naming_of
from edgedistill.supernet.slicing import extents

__all__ = ["TASK", "architecture_of", "load_hugging_face", "load_pretrained", "pooling_of"]

TASK = "text-classification"
_ACTIVATION = "gelu"
_POOLING: dict[str, Literal["first", "mean"]] = {"mean_tokens": "mean", "cls_token": "first"}


def architecture_of(config: Any, labels: int, pooling: Literal["first", "mean"]) -> Architecture:
    """The dimensions that a transformers config states, by whatever name its model type gives them.

    Raises:
        ModelError: the type is unsupported, or the configuration is of a kind that the encoder does not compute.
    """
    naming_of(config.model_type)
    _refuse_variants(config)
    normal = NormalizedConfigManager.get_normalized_config_class(config.model_type)(config)
    return Architecture(
        model_type=config.model_type,
        layers=normal.num_layers,
        hidden=normal.hidden_size,
        heads=normal.num_attention_heads,
        head_size=normal.hidden_size // normal.num_attention_heads,
        ffn=config.intermediate_size,
        vocabulary=normal.vocab_size,
        positions=config.max_position_embeddings,
        token_types=config.type_vocab_size,
        labels=labels,
        pooling=pooling,
    )


def pooling_of(folder: Path) -> Literal["first", "mean"]:
    """How the model was trained to sum up a text: sentence-transformers' note beside the weights says; else BERT's way.

    Raises:
        ModelError: the note names another way of pooling, or cannot be read.
    """
    note = folder / "1_Pooling" / "config.json"
    if not note.is_file():
        return "first"
    try:
        modes = {key for key, value in json.loads(note.read_text(encoding="utf-8")).items() if value is True}
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"{note} cannot be read; expected sentence-transformers' pooling settings") from error
    for mode, pooling in _POOLING.items():
        if f"pooling_mode_{mode}" in modes:
            return pooling
    raise ModelError(f"{note} asks for a pooling that is not supported; supported are {', '.join(_POOLING)}")


def _refuse_variants(config: Any) -> None:
    wanted = {"hidden_act": _ACTIVATION, "position_embedding_type": "absolute", "is_decoder": False}
    for key, value in wanted.items():
        actual = getattr(config, key, value)
        if actual != value:
            raise ModelError(f"the model's config has {key} = {actual!r}; only {value!r} is supported")


def load_hugging_face(folder: Path, labels: int) -> PreTrainedModel:
    """The checkpoint as transformers' own model for sequence classification, in fp32 and eval mode.

    The head is drawn anew from torch's generator where the checkpoint has none.

    Raises:
        ModelError: transformers cannot read it.
    """
    with _quiet():
        try:
            config = AutoConfig.from_pretrained(folder, num_labels=labels)
            naming_of(config.model_type)
            model_class = TasksManager.get_model_class_for_task(TASK, framework="pt", model_type=config.model_type)
            model = model_class.from_pretrained(folder, config=config, dtype=torch.float32)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise ModelError(f"{folder} cannot be loaded as an encoder: {reason}") from error
    assert isinstance(model, PreTrainedModel)
    return model.eval()


def load_pretrained(folder: Path, labels: int, *, scale: float, dropout: float) -> ElasticEncoder:
    """The checkpoint as an elastic encoder; at full size it computes what transformers' model does."""
    reference = load_hugging_face(folder, labels)
    arch = architecture_of(reference.config, labels, pooling_of(folder))
    eps = float(reference.config.layer_norm_eps)
    model = ElasticEncoder(arch, scale=scale, eps=eps, dropout=dropout)
    rename, source = naming_of(arch.model_type), reference.state_dict()
    missing = [rename(name) for name in extents(arch, arch.full) if rename(name) not in source]
    if missing:
        raise ModelError(f"{folder} has no tensor {missing[0]!r}; expected a complete {arch.model_type} checkpoint")
    state = {name: source[rename(name)] for name in extents(arch, arch.full)}
    model.load_state_dict(state)
    model.freeze()
    return model.eval()


@contextmanager
def _quiet() -> Iterator[None]:
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
