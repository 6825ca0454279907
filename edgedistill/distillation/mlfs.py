"""MLFS from end to end: a pretrained model and data in, a trained supernet out.

Each stage has seeds of its own and starts from nothing but the supernet, so training that stopped after a
stage goes on as if it had not.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata

import torch
from torch.nn import functional as F

from edgedistill.distillation.batches import Encoded, encode, load_tokenizer, sorted_batches
from edgedistill.distillation.data import ClassificationData
from edgedistill.distillation.evaluation import evaluate
from edgedistill.distillation.memory import keep_freed_memory
from edgedistill.distillation.models import ResolvedModel
from edgedistill.distillation.recipe import Recipe
from edgedistill.distillation.stages import Watcher, fine_tune, forward, train_subnets
from edgedistill.errors import CheckpointError, DataError
from edgedistill.subnet import SearchSpace, SubnetConfig
from edgedistill.supernet.checkpoint import StageScore, Supernet, SupernetInfo
from edgedistill.supernet.importance import nested_layers, rewire, score_units
from edgedistill.supernet.pretrained import load_pretrained

__all__ = ["STAGES", "EncodedData", "begin", "encode_data", "train"]

STAGES = (0, 1, 2)
_SCORED_BATCH = 16
_ORDERING_ROWS = 1000  # enough to tell layers apart; greedy removal evaluates a dozen subnets


class EncodedData:
    """The three splits as token ids."""

    def __init__(self, train: Encoded, validation: Encoded, test: Encoded) -> None:
        self.train = train
        self.validation = validation
        self.test = test


def encode_data(supernet: Supernet, data: ClassificationData) -> EncodedData:
    """Tokenize every split as the supernet was told to.

    Raises:
        DataError: the labels are not those that the supernet was made for.
    """
    info = supernet.info
    if list(data.label_names) != info.labels:
        raise DataError(
            f"the data's labels differ from the supernet's {len(info.labels)}; use the data it was made for"
        )
    train, validation, test = (
        encode(supernet.tokenizer, split.texts, split.labels, max_tokens=info.max_tokens, pad=info.pad_token_id)
        for split in (data.train, data.validation, data.test)
    )
    return EncodedData(train, validation, test)


def begin(source: ResolvedModel, data: ClassificationData, recipe: Recipe) -> Supernet:
    """A supernet of the pretrained model, with no stage done and a new head for the data's labels."""
    torch.manual_seed(recipe.seed)
    model = load_pretrained(source.folder, len(data.label_names), scale=recipe.scale, dropout=recipe.dropout)
    tokenizer, pad_token = load_tokenizer(source.folder)
    arch = model.arch
    info = SupernetInfo(
        architecture=arch,
        eps=model.eps,
        base_model=source.name,
        base_revision=source.revision,
        base_sha256=source.sha256,
        labels=list(data.label_names),
        max_tokens=min(recipe.max_tokens, arch.positions),
        pad_token=pad_token,
        pad_token_id=tokenizer.token_to_id(pad_token),
        data=data.source,
        columns=data.columns,
        data_sha256=data.sha256,
        recipe=recipe.model_dump(mode="json"),
        rank=recipe.rank,
        scale=recipe.scale,
        seed=recipe.seed,
        scores=[],
        versions={name: metadata.version(name) for name in ("torch", "transformers", "tokenizers")},
    )
    full = SearchSpace((arch.full.kept,), (arch.hidden,), recipe.heads(arch), recipe.ffn(arch))
    return Supernet(model, full, info, tokenizer)


def train(
    supernet: Supernet,
    data: ClassificationData,
    watcher: Watcher,
    *,
    announce: Callable[[str], None],
    save: Callable[[Supernet], None],
) -> Supernet:
    """Run the stages that are not done yet; ``save`` is called after each.

    ``watcher`` is called after each step, ``announce`` before what takes a while between the stages.

    Raises:
        CheckpointError: the supernet was begun with other data.
        TrainingError: a loss is no number; what was saved before stands.
    """
    if data.sha256 != supernet.info.data_sha256:
        raise CheckpointError("the supernet was begun with other data; give the same, or another output folder")
    keep_freed_memory()
    encoded = encode_data(supernet, data)
    recipe = Recipe.model_validate(supernet.info.recipe)
    for stage in STAGES:
        if stage < len(supernet.info.scores):
            continue
        supernet = _run_stage(supernet, encoded, recipe, stage, watcher, announce)
        save(supernet)
    return supernet


def _run_stage(
    supernet: Supernet,
    data: EncodedData,
    recipe: Recipe,
    stage: int,
    watcher: Watcher,
    announce: Callable[[str], None],
) -> Supernet:
    model, space = supernet.model, supernet.space
    torch.manual_seed(recipe.seed * len(STAGES) + stage)
    curve: list[float] = []
    if stage == 0:
        curve = fine_tune(model, data.train, data.validation, recipe, watcher)
        announce("putting heads, neurons and layers in order of importance")
        space = _order(supernet, data.validation, recipe)
    else:
        trained = space.at_full_depth() if stage == 1 else space
        train_subnets(model, trained, data.train, recipe, watcher, stage=stage)
    announce("scoring the full model")
    validation, test = (evaluate(model, space.maxnet, rows).accuracy for rows in (data.validation, data.test))
    score = StageScore(stage=stage, validation=validation, test=test, curve=curve)
    return Supernet(model, space, supernet.info.after(score), supernet.tokenizer)


def _order(supernet: Supernet, validation: Encoded, recipe: Recipe) -> SearchSpace:
    """Put heads and neurons in order of importance, and choose the layers of each depth; on validation data."""
    model = supernet.model

    def losses() -> list[Callable[[], torch.Tensor]]:
        return [
            lambda batch=batch: F.cross_entropy(forward(model, batch, model.arch.full).logits, batch.labels)  # type: ignore[misc]
            for batch in sorted_batches(validation, _SCORED_BATCH)
        ]

    rewire(model, score_units(model, losses()))
    sample = Encoded(validation.ids[:_ORDERING_ROWS], validation.labels[:_ORDERING_ROWS], validation.pad)
    arch = model.arch

    def loss(subnet: SubnetConfig) -> float:
        return evaluate(model, subnet, sample).loss

    layers = nested_layers(model, recipe.depth(arch), loss)
    return SearchSpace(layers, (arch.hidden,), recipe.heads(arch), recipe.ffn(arch))
