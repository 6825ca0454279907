"""A palette for generation, of real weights: subnets of stories260K.

They are cut out of the model as it is: the largest writes stories, and the others something that tells them apart.
"""

from __future__ import annotations

from pathlib import Path

import shared_data
import tiny_palette

from edgedistill.architecture import SearchSpace, Subnet
from edgedistill.data.batches import Encoded
from edgedistill.distillation.mlfs import EncodedData
from edgedistill.exporters import write_palette
from edgedistill.palette import LatencyPoint, Palette, SubnetProfile, load
from edgedistill.supernet.checkpoint import DataSource, GenerationInfo, StageScore, Supernet, SupernetInfo
from edgedistill.supernet.llama2c import load_llama2c
from edgedistill.supernet.llama2c_tokenizer import BEGIN, END, load_llama2c_tokenizer

CONTEXT = 160
LARGE, MIDDLE, SMALL = "l5-d64-h8-f172", "l5-d64-h4-f86", "l3-d48-h4-f86"
_SUBNETS = [
    Subnet.uniform(range(5), hidden=64, heads=8, ffn=172),
    Subnet.uniform(range(5), hidden=64, heads=4, ffn=86),
    Subnet.uniform((0, 2, 4), hidden=48, heads=4, ffn=86),
]
_TEXTS = {
    "train": "Once upon a time, there was a little girl named Lily. She loved to play outside in the park.",
    "validation": "One day, she saw a big, red ball. She wanted to play with it, but it was too high.",
    "test": "Lily's mom said, \"Lily, let's go to the park.\" Lily was sad and didn't know what to do.",
}


def write(folder: Path, of: Supernet | None = None) -> Path:
    """Write it into ``folder``, which must not exist yet; its path. Skips the test where the weights are not there."""
    whole = of or supernet()
    rows = {split: _rows(whole, text) for split, text in _TEXTS.items()}
    write_palette(whole, _SUBNETS, EncodedData(**rows), folder, lambda _: None)
    return folder


def supernet() -> Supernet:
    """The model as it is. Skips the test where the weights are not there."""
    data = shared_data.folder("stories260K")
    model = load_llama2c(data / "stories260K.bin", scale=1.0, dropout=0.0)
    info = SupernetInfo(
        architecture=model.arch,
        eps=model.eps,
        base_model="stories260K",
        base_revision=None,
        base_sha256="0" * 64,
        task="text-generation",
        labels=[],
        max_tokens=128,
        pad_token=None,
        pad_token_id=0,
        data=DataSource(data="stories", unlabelled=None, text_columns=("text",), label_column=None, sha256="1" * 64),
        recipe={},
        rank=1,
        scale=1.0,
        seed=0,
        scores=[_score(stage) for stage in (0, 1)],
        versions={},
        generation=GenerationInfo(
            context_tokens=CONTEXT, eos_token_ids=[BEGIN, END], bos_token_id=BEGIN, chat_template=None
        ),
    )
    space = SearchSpace(layers=(tuple(range(5)), (0, 2, 4)), hidden=(64, 48), heads=(8, 4), ffn=(172, 86))
    return Supernet(model, space, info, load_llama2c_tokenizer(data / "tok512.bin", model.arch.vocabulary))


def _score(stage: int) -> StageScore:
    return StageScore(
        stage=stage,
        metric="next_token_accuracy",
        validation=0.5,
        test=0.5,
        curve=[],
        steps=1,
        flops=1,
        wall_s=1.0,
    )


def _rows(supernet: Supernet, text: str) -> Encoded:
    ids = tuple(supernet.tokenizer.encode(text).ids)
    return Encoded((ids,), ((0,) * len(ids),), (ids[1:],), (tuple(range(len(ids) - 1)),), 0)


def profiled(folder: Path) -> Palette:
    """The palette with a profile named "board", of round figures.

    A token takes 2, 1 and 0.5 ms, from the largest to the smallest; the 95th percentile is 1.25 times that. A prompt of
    64 tokens takes 8, 4 and 2 ms, and one of 128 twice that. They take 40, 20 and 10 MB.
    """
    palette = load(folder)
    board = tiny_palette.profile(palette.manifest, name="board")
    profile = board.model_copy(
        update={
            "manifest_digest": palette.manifest.digest,
            "smallest": SMALL,
            "subnets": [_profiled(name, 0.5**place) for place, name in enumerate((LARGE, MIDDLE, SMALL))],
        }
    )
    return Palette(palette.folder, palette.manifest, {"board": profile})


def _profiled(name: str, share: float) -> SubnetProfile:
    points = [
        LatencyPoint(
            threads=1,
            batch=1,
            tokens=tokens,
            p50_ms=ms * share,
            low_ms=ms * share,
            high_ms=ms * share,
            p95_ms=1.25 * ms * share,
            p99_ms=2 * ms * share,
            samples=100,
        )
        for tokens, ms in ((1, 2.0), (64, 8.0), (128, 16.0))
    ]
    peak_mb = 40.0 * share
    return SubnetProfile(
        subnet=name,
        latency=points,
        load_ms=1.0,
        cold_load_ms=3.0,
        peak_mb=peak_mb,
        steady_mb=peak_mb,
        with_smallest_mb=peak_mb if name == SMALL else peak_mb + 10.0,
    )
