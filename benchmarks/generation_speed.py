"""Tokens a second and the wait for the first one, beside other ways to run the same decoder on this CPU.

Claim: in fp32 and in four bits at least as fast as onnxruntime-genai, both its builder's defaults and all that it
offers. Beside it transformers in fp32, and llama.cpp through its Python package; memory beside all. Ours again, without
huge pages, shows what those bring.

The model has SmolLM-135M's shape and random weights: speed does not depend on them (generation_models.py). Every round
opens every way in a fresh process with as many cores as threads (generation_worker.py), in another order; it answers
prompts of two lengths greedily, a batch of one. Tokens after the first count about which the processor kept its pace;
the wait for the first, too long for that, is the least of three. A process that met a slower processor than others did
is run once again. Ratios are to ours of the same precision in the same round, above 1 where ours is faster; single
processes differ by more than what is to be told, so that the claim is by the median of many rounds, in whose first two
alone what is no part of it takes part. Greedy answers of all fp32 ways must be the same.

PYTHON is an interpreter with onnxruntime-genai and transformers, and for llama.cpp with llama-cpp-python and gguf; what
it lacks is skipped and named.

Usage: python benchmarks/generation_speed.py DATA WORK PYTHON [ROUNDS]; default 13, at least 2. DATA has train.txt and
test.txt. Models are made in WORK and stay there. The last line is one JSON object.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import generation_models
import lab
import numpy as np
from numpy.typing import NDArray

from edgedistill.runtime import TextGenerator

PROMPTS = (32, 256)
TOKENS = 32
CAPACITY = 512
REPEATS = 3  # of each prompt in a process
_OURS = "ours-palette"
_SAME_PACE = 1.1  # times the best that a process met
_TRIES = 2
_ROUNDS_BESIDE = 2  # of what the claim is not about
_KEYS = ("first_ms", "token_ms")
_MEMORY = ("imported_mb", "open_mb", "steady_mb", "anonymous_mb", "peak_mb")

Run = dict[str, Any]


@dataclass(frozen=True)
class Contender:
    """A way to run a model, by an interpreter, and what it is asked."""

    python: str
    way: str
    model: Any
    prompts: Mapping[str, Sequence[int]]

    def run(self, threads: int) -> Run:
        """A fresh process' figures."""
        job = {"way": self.way, "model": self.model, "threads": threads, "prompts": self.prompts}
        job |= {"capacity": CAPACITY, "tokens": TOKENS, "repeats": REPEATS}
        return _worker(self.python, json.dumps(job))


def _worker(python: str, job: str = "") -> Run:
    script = str(Path(__file__).with_name("generation_worker.py"))
    done = subprocess.run([python, script], input=job, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{job[:200]}: {done.stderr[-2000:]}"
    found: Run = json.loads(done.stdout.splitlines()[-1])
    return found


def contenders(
    work: Path, folder: Path, prompts: Mapping[str, Sequence[int]], python: str
) -> tuple[dict[str, Contender], dict[str, str], dict[str, str]]:
    """By name, their files made; what was skipped, and the versions of what was not."""
    versions, skipped = _worker(python), {}
    found = {"transformers fp32": Contender(python, "transformers", str(folder), prompts)}
    palette = work / _OURS
    for precision, member in generation_models.ours(folder, palette, prompts[str(min(PROMPTS))]).items():
        for way, name in (("edgedistill", "ours {}"), ("edgedistill, small pages", "ours {}, small pages")):
            found[name.format(precision)] = Contender(sys.executable, way, (str(palette), member), prompts)
    if "onnxruntime-genai" in versions:
        for name, (precision, options) in generation_models.GENAI.items():
            target = generation_models.genai(
                python, folder, work / name.replace(",", "").replace(" ", "-"), precision, options
            )
            found[name] = Contender(python, "onnxruntime-genai", str(target), prompts)
    else:
        skipped["onnxruntime-genai"] = "not installed"
    if "llama-cpp-python" in versions:
        files = {f"llama.cpp {kind}": work / f"llama-cpp-{kind}.gguf" for kind in ("fp32", "int4")}
        generation_models.llama_cpp(python, folder, *files.values())
        found |= {name: Contender(python, "llama.cpp", str(model), prompts) for name, model in files.items()}
    else:
        skipped["llama.cpp"] = "not installed"
    return found, skipped, versions


def precision_of(name: str) -> str:
    """By which a contender meets ours."""
    return "int4" if "int4" in name else "fp32"


def is_claimed(name: str) -> bool:
    """Whether it is one of the two sides of the claim."""
    return name.startswith(("ours", "genai")) and "small pages" not in name


def measured(found: Mapping[str, Contender], threads: int, rounds: int) -> dict[str, list[Run]]:
    """Every contender's run of every round."""
    order, runs, best_us = random.Random(threads), {name: list[Run]() for name in found}, float("inf")
    for number in range(rounds):
        names = [name for name in found if number < _ROUNDS_BESIDE or is_claimed(name)]
        for name in order.sample(names, len(names)):
            for _ in range(_TRIES):
                run = found[name].run(threads)
                best_us = min(best_us, pace_us(run))
                if pace_us(run) <= _SAME_PACE * best_us:
                    break
            runs[name].append(run)
        lab.say(f"{threads} threads, round {number + 1} of {rounds}: {_line(runs)}")
    return runs


def pace_us(run: Run) -> float:
    """How fast the processor was that a process met, by a fixed piece of work."""
    return max(float(of["pace_us"]) for of in run["runs"].values())


def _line(runs: Mapping[str, Sequence[Run]]) -> str:
    tokens_ms = {name: max(float(of["token_ms"]) for of in every[-1]["runs"].values()) for name, every in runs.items()}
    return ", ".join(f"{name} {token_ms:.1f} ms a token" for name, token_ms in tokens_ms.items())


def figures(runs: Mapping[str, Sequence[Run]], prompt: str) -> dict[str, Any]:
    """Of each contender: the times of a prompt, tokens a second, and how much faster ours is."""
    result: dict[str, Any] = {}
    for name in runs:
        result[name] = {key: spread(_times(runs, name, prompt, key)) for key in _KEYS}
        result[name]["tokens_a_second"] = spread(1000 / _times(runs, name, prompt, "token_ms"))
        result[name]["over_ours"] = {key: spread(_over_ours(runs, name, prompt, key)) for key in _KEYS}
    return result


def _times(runs: Mapping[str, Sequence[Run]], name: str, prompt: str, key: str) -> NDArray[np.float64]:
    return np.array([run["runs"][prompt][key] for run in runs[name]], np.float64)


def _over_ours(runs: Mapping[str, Sequence[Run]], name: str, prompt: str, key: str) -> NDArray[np.float64]:
    """By round."""
    theirs, own = (_times(runs, one, prompt, key) for one in (name, f"ours {precision_of(name)}"))
    ratios: NDArray[np.float64] = theirs / own[: len(theirs)]
    return ratios


def against_genai(runs: Mapping[str, Sequence[Run]], prompt: str) -> dict[str, dict[str, dict[str, list[float]]]]:
    """By precision, how much faster ours is than onnxruntime-genai's defaults, and than the fastest of its ways."""
    result = {}
    for precision in ("fp32", "int4"):
        names = [name for name in runs if name.startswith(f"genai {precision}")]
        if names:
            ways = {key: np.array([_over_ours(runs, name, prompt, key) for name in names]) for key in _KEYS}
            defaults = {key: spread(of[names.index(f"genai {precision}")]) for key, of in ways.items()}
            result[precision] = {"defaults": defaults, "best": {key: spread(_fastest(of)) for key, of in ways.items()}}
    return result


def _fastest(ways: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of ratios [w, r] of some ways by round, the best way's, chosen by every other round and told by those between."""
    halves = ways[:, ::2], ways[:, 1::2]
    chosen = [int(np.median(half, axis=1).argmin()) for half in halves]
    told: NDArray[np.float64] = np.concatenate([halves[1][chosen[0]], halves[0][chosen[1]]])
    return told


def spread(values: Any) -> list[float]:
    """Median and quartiles."""
    return [round(float(value), 3) for value in np.percentile(values, [50, 25, 75])]


def memory(runs: Mapping[str, Sequence[Run]]) -> dict[str, dict[str, float]]:
    """Medians in 10⁶ bytes: after imports, once it is open, after all answers, of that not of files, and at most."""
    return {name: {key: round(median(run[key] for run in of), 1) for key in _MEMORY} for name, of in runs.items()}


def same(runs: Mapping[str, Sequence[Run]], prompt: str) -> dict[str, bool]:
    """Whether every fp32 way answers as ours did first, every time."""
    given = {name: [ids for run in of for ids in run["runs"][prompt]["answers"]] for name, of in runs.items()}
    first = given["ours fp32"][0]
    return {name: all(ids == first for ids in of) for name, of in given.items() if precision_of(name) == "fp32"}


def chosen_prompts(texts: Path, work: Path, folder: Path) -> dict[str, list[int]]:
    """The first ones behind which all of ours begin with whole characters: else a piece comes later than its token."""
    candidates = (generation_models.prompts(texts, folder, PROMPTS, begin) for begin in count(0, min(PROMPTS)))
    return next(prompts for prompts in candidates if _begin_whole(work / _OURS, folder, prompts))


def _begin_whole(palette: Path, folder: Path, prompts: Mapping[str, Sequence[int]]) -> bool:
    tokenizer = generation_models.tokenizer_in(folder)
    for member in generation_models.ours(folder, palette, prompts[str(min(PROMPTS))]).values():
        with TextGenerator(palette, only=[member]) as generator:
            begun = [generator.generate(ids, max_new_tokens=1).token_ids for ids in prompts.values()]
        if any("\ufffd" in tokenizer.decode(ids) for ids in begun):
            return False
    return True


def main(data: str, work_folder: str, python: str, rounds: str = "13") -> None:
    """One thread, then as many as there are cores; keep the comparison."""
    work = Path(work_folder).resolve()
    work.mkdir(parents=True, exist_ok=True)
    folder = generation_models.checkpoint(Path(data) / "train.txt", work / "checkpoint")
    prompts = chosen_prompts(Path(data) / "test.txt", work, folder)
    found, skipped, versions = contenders(work, folder, prompts, python)
    result: dict[str, Any] = {
        "rounds": int(rounds),
        "rounds_beside": _ROUNDS_BESIDE,
        "tokens": TOKENS,
        "capacity": CAPACITY,
    }
    result |= {"versions": versions, "skipped": skipped, "threads": {}}
    for threads in sorted({1, len(os.sched_getaffinity(0))}):
        runs = measured(found, threads, int(rounds))
        prompted = {prompt: figures(runs, prompt) for prompt in prompts}
        claims = {prompt: against_genai(runs, prompt) for prompt in prompts}
        result["threads"][threads] = {"against_genai": claims, "prompts": prompted} | {
            "memory": memory(runs),
            "same_answers": {prompt: same(runs, prompt) for prompt in prompts},
        }
    lab.keep("generation-speed", result)


if __name__ == "__main__":
    main(*sys.argv[1:])
