"""Build a supernet from a pretrained model: its weights, its tokenizer, and what their files record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from edgedistill.architecture import SearchSpace, Subnet
from edgedistill.data.dataset import TaskData
from edgedistill.distillation.chat_files import chat_template
from edgedistill.distillation.encoder_tokenizer import load_tokenizer
from edgedistill.distillation.generation_files import end_tokens, generation_settings
from edgedistill.distillation.models import ResolvedModel
from edgedistill.distillation.recipe import Recipe
from edgedistill.distillation.seeds import seed_of
from edgedistill.distillation.standardising import label_scale_of, standardise_head
from edgedistill.distillation.tokenizer_files import read_tokenizer, settings_of
from edgedistill.errors import ModelError
from edgedistill.supernet.checkpoint import DataSource, GenerationInfo, Supernet, SupernetInfo
from edgedistill.supernet.llama2c import llama2c_files, load_llama2c
from edgedistill.supernet.llama2c_tokenizer import BEGIN, END, load_llama2c_tokenizer
from edgedistill.supernet.model import ElasticTransformer
from edgedistill.supernet.pretrained import (
    embedding_width,
    has_head,
    load_pretrained,
    sentence_settings,
    teacher_labels,
)
from edgedistill.supernet.pretrained_decoder import load_pretrained_decoder
from edgedistill.supernet.random_weights import random_decoder
from edgedistill.supernet.slicing import tensors_alone
from edgedistill.tasks import task_of

__all__ = ["build_standalone_supernet", "build_supernet", "recipe_for"]


@dataclass(frozen=True)
class _Pretrained:
    """A model, its tokenizer, the padding token and its id, and for a decoder what generating needs.

    ``most_tokens`` is the longest text that the checkpoint's own settings allow, None where they do not say;
    ``tokenizer_settings`` and ``generation_settings`` are its tokenizer_config.json and generation_config.json.
    """

    model: ElasticTransformer
    tokenizer: Tokenizer
    pad_token: str | None
    pad_token_id: int
    generation: GenerationInfo | None = None
    most_tokens: int | None = None
    tokenizer_settings: dict[str, Any] = field(default_factory=dict)
    generation_settings: dict[str, Any] = field(default_factory=dict)


def recipe_for(recipe: Recipe, data: TaskData) -> Recipe:
    """Return the recipe for the data: where train has no labels, the model is the teacher as it is."""
    return recipe if data.labelled else recipe.model_copy(update={"fine_tuned": True})


def build_supernet(source: ResolvedModel, data: TaskData, recipe: Recipe) -> Supernet:
    """Build a supernet of the pretrained model, with no stage done and, where it has none that fits, a new head.

    Raises:
        DataError: fp32 cannot tell a regression's labels apart.
        ModelError: the model is to be the teacher as it is, and has no head for the data's labels.
        RecipeError: the recipe does not fit the model.
    """
    recipe = recipe_for(recipe, data)
    pretrained = (_decoder if task_of(data.task).generates else _encoder)(source, data, recipe)
    arch = pretrained.model.arch
    recipe.check(arch)
    info = SupernetInfo(
        architecture=arch,
        eps=pretrained.model.eps,
        task=data.task,
        base_model=source.name,
        base_revision=source.revision,
        base_sha256=source.sha256,
        labels=list(data.label_names),
        max_tokens=min(recipe.max_tokens, arch.positions, pretrained.most_tokens or arch.positions),
        pad_token=pretrained.pad_token,
        pad_token_id=pretrained.pad_token_id,
        data=DataSource(
            data=data.source,
            unlabelled=data.unlabelled,
            text_columns=data.columns.text,
            label_column=data.columns.label,
            sha256=data.sha256,
        ),
        recipe=recipe.model_dump(mode="json"),
        rank=recipe.rank,
        scale=recipe.scale,
        seed=recipe.seed,
        scores=[],
        versions={name: metadata.version(name) for name in ("torch", "transformers", "tokenizers")},
        generation=pretrained.generation,
        tokenizer_settings=pretrained.tokenizer_settings,
        generation_settings=pretrained.generation_settings,
        label_scale=label_scale_of(data),
    )
    full = SearchSpace((arch.full.kept,), recipe.hidden(arch), recipe.heads(arch), recipe.ffn(arch))
    return Supernet(pretrained.model, full, info, pretrained.tokenizer)


def build_standalone_supernet(supernet: Supernet, subnet: Subnet, seed: int | None = None) -> Supernet:
    """Build a supernet of a decoder's subnet alone, with no other subnets and no stage done.

    It has the subnet's weights, or where a seed is given random ones. Train it to compare with a shared supernet.

    Raises:
        ModelError: the supernet is an encoder's.
    """
    arch, eps = supernet.model.arch.alone(subnet), supernet.model.eps
    recipe = Recipe.model_validate(supernet.info.recipe)
    whole = dict.fromkeys(("head_shares", "ffn_shares", "hidden_shares", "depth_shares"), (1.0,))
    recipe = recipe.model_copy(update={**whole, "random_weights": seed is not None})
    if seed is None:
        model = ElasticTransformer(arch, scale=recipe.scale, eps=eps, dropout=recipe.dropout)
        model.load_state_dict(tensors_alone(supernet.model, subnet))
        model.freeze()
    else:
        model = random_decoder(arch, seed, scale=recipe.scale, eps=eps, dropout=recipe.dropout)
    changes = {"architecture": arch, "recipe": recipe.model_dump(mode="json"), "scores": [], "ordered": False}
    space = SearchSpace((arch.full.kept,), (arch.hidden,), (arch.heads,), (arch.ffn,))
    return Supernet(model.eval(), space, supernet.info.model_copy(update=changes), supernet.tokenizer)


def _encoder(source: ResolvedModel, data: TaskData, recipe: Recipe) -> _Pretrained:
    if llama2c_files(source.folder) is not None:
        raise ModelError(f"{source.name} is a decoder of llama2.c's, which is for text-generation, not {data.task}")
    outputs = task_of(data.task).outputs(len(data.label_names), embedding_width(source.folder, data.task))
    if recipe.fine_tuned:
        _check_labels(teacher_labels(source.folder, data.task, source.name), data, source.name)
    torch.manual_seed(seed_of(recipe.seed, "head"))
    model = load_pretrained(source.folder, data.task, outputs, scale=recipe.scale, dropout=recipe.dropout)
    recipe.check(model.arch)
    pairs = len(data.columns.text) == 2 and not task_of(data.task).embeds
    source_tokenizer = load_tokenizer(source.folder, data.task, types=model.arch.token_types, pairs=pairs)
    pad = source_tokenizer.tokenizer.token_to_id(source_tokenizer.pad_token)
    if pad is None:
        raise ModelError(
            f"{source.folder}: the padding token {source_tokenizer.pad_token!r} is not in the tokenizer's vocabulary; "
            "add it there, or name another one in tokenizer_config.json"
        )
    most_tokens = source_tokenizer.most_tokens
    if task_of(data.task).embeds:
        settings = sentence_settings(source.folder)
        most_tokens = settings.most_tokens or most_tokens
        if settings.lower_case:
            _check_small_letters(source.folder, source_tokenizer.tokenizer)
    if has_head(source.folder, data.task, outputs):
        standardise_head(model, source_tokenizer.tokenizer, pad, data, recipe)
    elif data.train.labels is not None:
        _set_bias(model.classifier, task_of(data.task).starting_bias(data.train.labels))
    return _Pretrained(
        model,
        source_tokenizer.tokenizer,
        source_tokenizer.pad_token,
        pad,
        most_tokens=most_tokens,
        tokenizer_settings=source_tokenizer.settings,
    )


@torch.no_grad()
def _set_bias(head: torch.nn.Linear | None, bias: Sequence[float] | None) -> None:
    """Let a new head answer every text with the labels' shares, where the task says so."""
    if head is not None and bias is not None:
        head.bias.copy_(torch.tensor(bias))


def _check_labels(names: list[str] | None, data: TaskData, model: str) -> None:
    """Refuse data whose classes are numbered otherwise than the teacher's outputs."""
    if names is None or tuple(names) == data.label_names:
        return
    placeholders = names == [f"LABEL_{index}" for index in range(len(names))]
    if not placeholders or len(names) != len(data.label_names):
        raise ModelError(
            f"{model} is to teach as it is and has {len(names)} outputs ({_few(names)}); the data have "
            f"{len(data.label_names)} labels ({_few(data.label_names)}): they must be the model's labels, in its order"
        )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def _check_small_letters(folder: Path, tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer that tells capital letters, where sentence-transformers would make them small first."""
    normalizer = tokenizer.normalizer
    if normalizer is None or normalizer.normalize_str("ABCÄ") != normalizer.normalize_str("abcä"):
        raise ModelError(
            f"{folder}: do_lower_case of sentence-transformers' settings is true, and the tokenizer keeps capital "
            "letters; put that into the tokenizer instead (do_lower_case of tokenizer_config.json)"
        )


def _decoder(source: ResolvedModel, _data: TaskData, recipe: Recipe) -> _Pretrained:
    files = llama2c_files(source.folder)
    pretrained = _hugging_face(source.folder, recipe) if files is None else _llama2c(*files, recipe)
    if not recipe.random_weights:
        return pretrained
    seed, eps = seed_of(recipe.seed, "weights"), pretrained.model.eps
    model = random_decoder(pretrained.model.arch, seed, scale=recipe.scale, eps=eps, dropout=recipe.dropout)
    return replace(pretrained, model=model)


def _llama2c(checkpoint: Path, tokens: Path, recipe: Recipe) -> _Pretrained:
    """Load a model of llama2.c's, which sees the start of the next text where one ends."""
    model = load_llama2c(checkpoint, scale=recipe.scale, dropout=recipe.dropout)
    tokenizer = load_llama2c_tokenizer(tokens, model.arch.vocabulary)
    generation = GenerationInfo(
        context_tokens=model.arch.positions, eos_token_ids=[BEGIN, END], bos_token_id=BEGIN, chat_template=None
    )
    return _Pretrained(model, tokenizer, None, END, generation)


def _hugging_face(folder: Path, recipe: Recipe) -> _Pretrained:
    model = load_pretrained_decoder(folder, scale=recipe.scale, dropout=recipe.dropout)
    wrapper, document = read_tokenizer(folder)
    tokenizer = Tokenizer.from_str(json.dumps(document))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    settings = generation_settings(folder)
    ends = end_tokens(folder, settings, wrapper.eos_token_id)
    generation = GenerationInfo(
        context_tokens=model.arch.positions,
        eos_token_ids=ends,
        bos_token_id=wrapper.bos_token_id,
        chat_template=chat_template(folder, wrapper),
    )
    pad = wrapper.pad_token_id
    return _Pretrained(
        model,
        tokenizer,
        wrapper.pad_token,
        pad if pad is not None else (ends or [0])[0],
        generation,
        tokenizer_settings=settings_of(wrapper),
        generation_settings=settings,
    )
