"""Measure tokens per second and time to first token, next to other engines on this CPU.

Claim: in fp32 and in four bits at least as fast as onnxruntime-genai, both with its builder's defaults and with all of
its options. Next to it are transformers in fp32, llama.cpp through its Python package, and ours without huge pages;
and the memory of each.

The model has SmolLM-135M's shape and random weights (generation_models.py). It answers prompts of two lengths
greedily, in batches of one, with one thread for each core. Every engine has a process of its own, and those of a
precision take turns (generation_contest.py). Ratios are to ours of the same precision in the same turn, above 1 where
ours is faster. Engines that the claim does not cover take part in the first two rounds only. All engines in fp32 must
give the same greedy answers. WORK keeps the models.

Needs: train.txt and test.txt in DATA; a PYTHON with onnxruntime-genai and transformers, and for llama.cpp with
llama-cpp-python and gguf (what is missing is skipped and named)
Takes: about 2 hours
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.generation import generation_models
from benchmarks.generation.generation_contest import KEYS, Contender, Contest, Run, ratios, spread, times, versions
from benchmarks.shared import output
from benchmarks.shared.arguments import DataFolder, Rounds, WorkFolder
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
    """Make the files of all contenders; return them by name, those skipped, and the versions of the others."""
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
    """Return the precision in which a contender meets ours."""
    return "int4" if "int4" in name else "fp32"


def takes_part(name: str, number: int) -> bool:
    """Return whether a contender takes part in a round: those outside the claim only in the first ones."""
    return number < _ROUNDS_BESIDE or (name.startswith(("ours", "genai")) and "small pages" not in name)


def figures(runs: Mapping[str, Sequence[Run]], prompt: str) -> dict[str, Any]:
    """Return each contender's times for a prompt, tokens per second, and how much faster ours is."""
    result: dict[str, Any] = {}
    for name in runs:
        result[name] = {key: spread(times(runs[name], prompt, key)) for key in KEYS}
        result[name]["tokens_a_second"] = spread(1000 / times(runs[name], prompt, "token_ms"))
        result[name]["over_ours"] = {key: spread(_over_ours(runs, name, prompt, key)) for key in KEYS}
    return result


def _over_ours(runs: Mapping[str, Sequence[Run]], name: str, prompt: str, key: str) -> NDArray[np.float64]:
    return ratios(runs[name], runs[f"ours {precision_of(name)}"], prompt, key)


def against_genai(runs: Mapping[str, Sequence[Run]], prompt: str) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Return by precision how much faster ours is than onnxruntime-genai's defaults and than its fastest option."""
    result = {}
    for precision in ("fp32", "int4"):
        names = [name for name in runs if name.startswith(f"genai {precision}")]
        if names:
            ways = {key: np.array([_over_ours(runs, name, prompt, key) for name in names]) for key in KEYS}
            defaults = {key: spread(of[names.index(f"genai {precision}")]) for key, of in ways.items()}
            result[precision] = {"defaults": defaults, "best": {key: spread(_fastest(of)) for key, of in ways.items()}}
    return result


def _fastest(ways: NDArray[np.float64]) -> NDArray[np.float64]:
    """Choose the fastest option of ratios [w, r] by every other round, and return its ratios in the rounds between."""
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
    """Return whether every fp32 engine gives our first answer, every time."""
    given = {name: [ids for run in of for ids in run["prompts"][prompt]["answers"]] for name, of in runs.items()}
    first = given["ours fp32"][0]
    return {name: all(ids == first for ids in of) for name, of in given.items() if precision_of(name) == "fp32"}


def chosen_prompts(texts: Path, work: Path, folder: Path) -> dict[str, list[int]]:
    """Return the first prompts for which each token of our answers is a piece of text: they are counted by pieces."""
    candidates = (generation_models.prompts(texts, folder, PROMPTS, begin) for begin in count(0, min(PROMPTS)))
    return next(prompts for prompts in candidates if _is_told_by_pieces(work / _OURS, folder, prompts))


def _is_told_by_pieces(palette: Path, folder: Path, prompts: Mapping[str, Sequence[int]]) -> bool:
    for member in generation_models.ours(folder, palette, prompts[str(min(PROMPTS))]).values():
        with TextGenerator(palette, only=[member]) as generator:
            for ids in prompts.values():
                if sum(1 for _ in generator.stream(ids, max_new_tokens=TOKENS)) < TOKENS:
                    return False
    return True


def main(
    data_folder: DataFolder,
    work: WorkFolder,
    python: Annotated[str, typer.Argument(metavar="PYTHON", help="an interpreter that has the other engines")],
    rounds: Rounds = 12,
) -> None:
    """Run all engines on one thread and then on every core, and save the comparison."""
    folder = generation_models.checkpoint(data_folder / "train.txt", work / "checkpoint")
    prompts = chosen_prompts(data_folder / "test.txt", work, folder)
    found, skipped, installed = contenders(work, folder, prompts, python)
    result: dict[str, Any] = {
        "rounds": rounds,
        "rounds_beside": _ROUNDS_BESIDE,
        "turns": TURNS,
        "tokens": TOKENS,
        "capacity": CAPACITY,
    }
    result |= {"versions": installed, "skipped": skipped, "threads": {}}
    for threads in sorted({1, len(os.sched_getaffinity(0))}):
        runs = Contest(TOKENS, TURNS, CAPACITY).rounds(found, threads, rounds, takes_part)
        prompted = {prompt: figures(runs, prompt) for prompt in prompts}
        claims = {prompt: against_genai(runs, prompt) for prompt in prompts}
        result["threads"][threads] = {"against_genai": claims, "prompts": prompted} | {
            "memory": memory(runs),
            "same_answers": {prompt: same(runs, prompt) for prompt in prompts},
        }
    output.save_result("generation-speed", result)
