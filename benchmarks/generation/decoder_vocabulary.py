"""What a decoder gains by knowing a domain's tokens alone: bytes, memory, and the time of a token.

Claim: less of each, by the rows of the embedding table that go, which a tied head reads for every token.

The model has SmolLM-135M's shape and random weights (generation_models.py), its tokenizer is of DATA's texts. The
domain is a text file, whose tokens stay, and what spells out any other word. The whole and the trimmed palette answer
in turn (generation_contest.py), in fp32 and four bits, one thread, a prompt of 32 of the domain's tokens. What is
answered is tested elsewhere: with the tokens that it needs, a text stays as it was.

Usage: python -m benchmarks run decoder-vocabulary DATA DOMAIN.txt WORK [ROUNDS]; default 7. The last line is one JSON
object.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tokenizers import Tokenizer

from benchmarks.generation import generation_models
from benchmarks.generation.generation_contest import Contender, Contest, Run, ratios, spread, times
from benchmarks.shared import output
from edgedistill.manifest import load

_PROMPT = 32
_TOKENS = 32
_TURNS = 5
_CAPACITY = 64
_MODELS = ("whole", "trimmed")


def contenders(folder: Path, domain: Path, work: Path) -> dict[str, Contender]:
    """By precision and model; each with the prompt in its own ids."""
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
    """That of its texts."""
    return Tokenizer.from_file(str(palette / load(palette).manifest.tokenizer.file))


def _palette(work: Path, model: str) -> Path:
    return work / f"{model}-palette"


def compared(runs: Mapping[str, Sequence[Run]], precision: str, work: Path) -> dict[str, Any]:
    """Of a precision: what both take, and a token's time by the trimmed one over the whole one's."""
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


def main(data: str, domain: str, work_folder: str, rounds: str = "7") -> None:
    """Make both palettes, run them, keep the comparison."""
    work = Path(work_folder).resolve()
    work.mkdir(parents=True, exist_ok=True)
    folder = generation_models.checkpoint(Path(data) / "train.txt", work / "checkpoint")
    found = contenders(folder, Path(domain), work)
    runs = Contest(_TOKENS, _TURNS, _CAPACITY).rounds(found, 1, int(rounds), lambda *_: True)
    tokens = {model: tokenizer_of(_palette(work, model)).get_vocab_size() for model in _MODELS}
    by = {precision: compared(runs, precision, work) for precision in ("fp32", "int4")}
    output.save_result("decoder-vocabulary", {"rounds": int(rounds), "tokens": tokens, "precisions": by})


if __name__ == "__main__":
    main(*sys.argv[1:])
