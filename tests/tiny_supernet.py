"""A supernet of a tiny encoder, and rows for it: what an export starts from, in milliseconds."""

from __future__ import annotations

import random

import tiny_encoder
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from edgedistill.architecture import Architecture
from edgedistill.data.batches import Encoded
from edgedistill.distillation.mlfs import EncodedData
from edgedistill.supernet.checkpoint import DataSource, StageScore, Supernet, SupernetInfo


def supernet(arch: Architecture = tiny_encoder.ARCH) -> Supernet:
    """Trained to stage 1, so it says."""
    model = tiny_encoder.encoder(arch)
    model.freeze()
    info = SupernetInfo(
        architecture=arch,
        eps=model.eps,
        base_model="tiny",
        base_revision=None,
        base_sha256="0" * 64,
        task="text-classification",
        labels=["a", "b", "c", "d", "e"],
        max_tokens=32,
        pad_token="[PAD]",
        pad_token_id=0,
        data=DataSource(data="rows", unlabelled=None, text_columns=("text",), label_column="label", sha256="1" * 64),
        recipe={},
        rank=2,
        scale=model.layers[0].query.scale,
        seed=0,
        scores=[_score(0), _score(1)],
        versions={},
    )
    tokenizer = Tokenizer(WordLevel({"[PAD]": 0, "[UNK]": 1, "word": 2}, unk_token="[UNK]"))
    return Supernet(model, tiny_encoder.SPACE, info, tokenizer)


def _score(stage: int) -> StageScore:
    return StageScore(stage=stage, metric="accuracy", validation=0.5, test=0.5, curve=[], steps=1, flops=1, wall_s=1.0)


def rows() -> EncodedData:
    """The same 40 random rows three times."""
    rng = random.Random(0)
    ids = tuple(tuple(rng.randrange(50) for _ in range(rng.randrange(1, 20))) for _ in range(40))
    split = Encoded(ids, tuple((0,) * len(row) for row in ids), tuple(rng.randrange(5) for _ in ids), None, 0)
    return EncodedData(split, split, split)
