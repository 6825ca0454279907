"""Tokens a second and the wait for the first one, beside other ways to run the same decoder on this CPU.

Claim: in fp32 and in four bits at least as fast as onnxruntime-genai, both its builder's defaults and all that it
offers. Beside it transformers in fp32, and llama.cpp through its Python package; memory beside all. Ours again, without
huge pages, shows what those bring.

The model has SmolLM-135M's shape and random weights: speed does not depend on them (generation_models.py). It answers
prompts of two lengths greedily, a batch of one, with as many cores as threads; every way in a process of its own, all
of a precision in turn (generation_contest.py). Ratios are to ours of the same precision in the same turn, above 1 where
ours is faster. What is no part of the claim takes part in the first two rounds alone. Greedy answers of all fp32 ways
must be the same.

PYTHON is an interpreter with onnxruntime-genai and transformers, and for llama.cpp with llama-cpp-python and gguf; what
it lacks is skipped and named.

Usage: python -m benchmarks run generation-speed DATA WORK PYTHON [ROUNDS]; default 12, at least 2. DATA has train.txt
and test.txt. Models are made in WORK and stay there. The last line is one JSON object.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.generation import generation_models
from benchmarks.generation.generation_contest import KEYS, Contender, Contest, Run, ratios, spread, times, versions
from benchmarks.shared import output
from edgedistill.runtime import TextGenerator

PROMPTS = (32, 256)
TOKENS = 32
CAPACITY = 512
TURNS = 5
_OURS = "ours-palette"
_ROUNDS_BESIDE = 2  # of what the claim is not about
_MEMORY = ("imported_mb", "open_mb", "steady_mb", "anonymous_mb", "peak_mb")


def contenders(
    work: Path, folder: Path, prompts: Mapping[str, Sequence[int]], python: str
) -> tuple[dict[str, Contender], dict[str, str], dict[str, str]]:
    """By name, their files made; what was skipped, and the versions of what was not."""
    installed, skipped = versions(python), {}
    ways: dict[str, tuple[str, str, Any]] = {"transformers fp32": (python, "transformers", str(folder))}
    palette = work / _OURS
    for precision, member in generation_models.ours(folder, palette, prompts[str(min(PROMPTS))]).items():
        for way, name in (("edgedistill", "ours {}"), ("edgedistill, small pages", "ours {}, small pages")):
            ways[name.format(precision)] = (sys.executable, way, (str(palette), member))
    if "onnxruntime-genai" in installed:
        for name, (precision, options) in generation_models.GENAI.items():
            target = generation_models.genai(
                python, folder, work / name.replace(",", "").replace(" ", "-"), precision, options
            )
            ways[name] = (python, "onnxruntime-genai", str(target))
    else:
        skipped["onnxruntime-genai"] = "not installed"
    if "llama-cpp-python" in installed:
        files = {f"llama.cpp {kind}": work / f"llama-cpp-{kind}.gguf" for kind in ("fp32", "int4")}
        generation_models.llama_cpp(python, folder, *files.values())
        ways |= {name: (python, "llama.cpp", str(model)) for name, model in files.items()}
    else:
        skipped["llama.cpp"] = "not installed"
    found = {name: Contender(*how, prompts, precision_of(name)) for name, how in ways.items()}
    return found, skipped, installed


def precision_of(name: str) -> str:
    """By which a contender meets ours."""
    return "int4" if "int4" in name else "fp32"


def takes_part(name: str, number: int) -> bool:
    """In the round of that number: what is no side of the claim only in the first ones."""
    return number < _ROUNDS_BESIDE or (name.startswith(("ours", "genai")) and "small pages" not in name)


def figures(runs: Mapping[str, Sequence[Run]], prompt: str) -> dict[str, Any]:
    """Of each contender: the times of a prompt, tokens a second, and how much faster ours is."""
    result: dict[str, Any] = {}
    for name in runs:
        result[name] = {key: spread(times(runs[name], prompt, key)) for key in KEYS}
        result[name]["tokens_a_second"] = spread(1000 / times(runs[name], prompt, "token_ms"))
        result[name]["over_ours"] = {key: spread(_over_ours(runs, name, prompt, key)) for key in KEYS}
    return result


def _over_ours(runs: Mapping[str, Sequence[Run]], name: str, prompt: str, key: str) -> NDArray[np.float64]:
    return ratios(runs[name], runs[f"ours {precision_of(name)}"], prompt, key)


def against_genai(runs: Mapping[str, Sequence[Run]], prompt: str) -> dict[str, dict[str, dict[str, list[float]]]]:
    """By precision, how much faster ours is than onnxruntime-genai's defaults, and than the fastest of its ways."""
    result = {}
    for precision in ("fp32", "int4"):
        names = [name for name in runs if name.startswith(f"genai {precision}")]
        if names:
            ways = {key: np.array([_over_ours(runs, name, prompt, key) for name in names]) for key in KEYS}
            defaults = {key: spread(of[names.index(f"genai {precision}")]) for key, of in ways.items()}
            result[precision] = {"defaults": defaults, "best": {key: spread(_fastest(of)) for key, of in ways.items()}}
    return result


def _fastest(ways: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of ratios [w, r] of some ways by round, the best way's, chosen by every other round and told by those between."""
    halves = ways[:, ::2], ways[:, 1::2]
    chosen = [int(np.median(half, axis=1).argmin()) for half in halves]
    told: NDArray[np.float64] = np.concatenate([halves[1][chosen[0]], halves[0][chosen[1]]])
    return told


def memory(runs: Mapping[str, Sequence[Run]]) -> dict[str, dict[str, float]]:
    """Medians in 10⁶ bytes: after imports, once it is open, after all answers, of that not of files, and at most."""
    return {
        name: {key: round(median(run["memory"][key] for run in of), 1) for key in _MEMORY} for name, of in runs.items()
    }


def same(runs: Mapping[str, Sequence[Run]], prompt: str) -> dict[str, bool]:
    """Whether every fp32 way answers as ours did first, every time."""
    given = {name: [ids for run in of for ids in run["prompts"][prompt]["answers"]] for name, of in runs.items()}
    first = given["ours fp32"][0]
    return {name: all(ids == first for ids in of) for name, of in given.items() if precision_of(name) == "fp32"}


def chosen_prompts(texts: Path, work: Path, folder: Path) -> dict[str, list[int]]:
    """The first ones to which each token of all of our answers is a piece of text: tokens are told by their pieces."""
    candidates = (generation_models.prompts(texts, folder, PROMPTS, begin) for begin in count(0, min(PROMPTS)))
    return next(prompts for prompts in candidates if _is_told_by_pieces(work / _OURS, folder, prompts))


def _is_told_by_pieces(palette: Path, folder: Path, prompts: Mapping[str, Sequence[int]]) -> bool:
    for member in generation_models.ours(folder, palette, prompts[str(min(PROMPTS))]).values():
        with TextGenerator(palette, only=[member]) as generator:
            for ids in prompts.values():
                if sum(1 for _ in generator.stream(ids, max_new_tokens=TOKENS)) < TOKENS:
                    return False
    return True


def main(data: str, work_folder: str, python: str, rounds: str = "12") -> None:
    """One thread, then as many as there are cores; keep the comparison."""
    work = Path(work_folder).resolve()
    work.mkdir(parents=True, exist_ok=True)
    folder = generation_models.checkpoint(Path(data) / "train.txt", work / "checkpoint")
    prompts = chosen_prompts(Path(data) / "test.txt", work, folder)
    found, skipped, installed = contenders(work, folder, prompts, python)
    result: dict[str, Any] = {
        "rounds": int(rounds),
        "rounds_beside": _ROUNDS_BESIDE,
        "turns": TURNS,
        "tokens": TOKENS,
        "capacity": CAPACITY,
    }
    result |= {"versions": installed, "skipped": skipped, "threads": {}}
    for threads in sorted({1, len(os.sched_getaffinity(0))}):
        runs = Contest(TOKENS, TURNS, CAPACITY).rounds(found, threads, int(rounds), takes_part)
        prompted = {prompt: figures(runs, prompt) for prompt in prompts}
        claims = {prompt: against_genai(runs, prompt) for prompt in prompts}
        result["threads"][threads] = {"against_genai": claims, "prompts": prompted} | {
            "memory": memory(runs),
            "same_answers": {prompt: same(runs, prompt) for prompt in prompts},
        }
    output.save_result("generation-speed", result)


if __name__ == "__main__":
    main(*sys.argv[1:])
