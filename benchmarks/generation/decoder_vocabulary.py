"""Measure what a decoder saves if it keeps only a domain's tokens: bytes, memory and time per token.

Claim: each falls by the rows that leave the embedding table, which a tied head reads for every token.

The model has SmolLM-135M's shape and random weights (generation_models.py), and its tokenizer is trained on the texts
of DATA. DOMAIN is a text file: its tokens stay, and those that spell any other word. The whole and the trimmed palette
answer in turn (generation_contest.py), in fp32 and in four bits, on one thread, with a prompt of 32 of the domain's
tokens. Tests check the answers: a text whose tokens stay does not change.

Needs: train.txt in DATA; a text file of the domain
Takes: about 30 minutes
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from tokenizers import Tokenizer

from benchmarks.generation import generation_models
from benchmarks.generation.generation_contest import Contender, Contest, Run, ratios, spread, times
from benchmarks.shared import output
from benchmarks.shared.arguments import DataFolder, Rounds, WorkFolder
from edgedistill.palette import load

_PROMPT = 32
_TOKENS = 32
_TURNS = 5
_CAPACITY = 64
_MODELS = ("whole", "trimmed")


def contenders(folder: Path, domain: Path, work: Path) -> dict[str, Contender]:
    """Return the contenders by precision and model, each with the prompt in its own ids."""
    tokenizer = generation_models.tokenizer_in(folder)
    ids = tokenizer.encode(domain.read_text(encoding="utf-8")).ids
    words, found = tokenizer.decode(ids[:_PROMPT]), {}
    for model, used in zip(_MODELS, (None, ids), strict=True):
        target = _palette(work, model)
        members = generation_models.ours(folder, target, ids[:_PROMPT], used)
        prompts = {"prompt": tokenizer_of(target).encode(words).ids}
        for precision, member in members.items():
            way = (sys.executable, "edgedistill", (str(target), member))
            found[f"{precision}, {model}"] = Contender(*way, prompts, precision)
    return found


def tokenizer_of(palette: Path) -> Tokenizer:
    """Return the tokenizer of a palette."""
    return Tokenizer.from_file(str(palette / load(palette).manifest.text_input.tokenizer.file))


def _palette(work: Path, model: str) -> Path:
    return work / f"{model}-palette"


def compared(runs: Mapping[str, Sequence[Run]], precision: str, work: Path) -> dict[str, Any]:
    """Compare both palettes in a precision: what they take, and a token's time in the trimmed over the whole one."""
    of = {model: runs[f"{precision}, {model}"] for model in _MODELS}
    return {
        "token_ms": {model: spread(times(found, "prompt", "token_ms")) for model, found in of.items()},
        "trimmed_over_whole": spread(ratios(of["trimmed"], of["whole"], "prompt", "token_ms")),
        "memory_mb": {
            model: round(median(run["memory"]["steady_mb"] for run in found), 1) for model, found in of.items()
        },
        "weights_mb": {model: _weights_mb(_palette(work, model), precision) for model in _MODELS},
    }


def _weights_mb(palette: Path, precision: str) -> float:
    return round(sum(file.stat().st_size for file in palette.glob(f"weights-{precision}-*")) / 1e6, 1)


def main(
    data_folder: DataFolder,
    domain: Annotated[
        Path, typer.Argument(metavar="DOMAIN", exists=True, dir_okay=False, help="a text file of the domain")
    ],
    work: WorkFolder,
    rounds: Rounds = 7,
) -> None:
    """Make both palettes, run them, and save the comparison."""
    folder = generation_models.checkpoint(data_folder / "train.txt", work / "checkpoint")
    found = contenders(folder, domain, work)
    runs = Contest(_TOKENS, _TURNS, _CAPACITY).rounds(found, 1, rounds, lambda *_: True)
    tokens = {model: tokenizer_of(_palette(work, model)).get_vocab_size() for model in _MODELS}
    by = {precision: compared(runs, precision, work) for precision in ("fp32", "int4")}
    output.save_result("decoder-vocabulary", {"rounds": rounds, "tokens": tokens, "precisions": by})
