"""Tokens a second and the wait for the first one, beside other ways to run the same decoder on this CPU.

Claim: in fp32 and in four bits at least as fast as onnxruntime-genai, both its builder's defaults and all that it
offers. Beside it transformers in fp32, and llama.cpp through its Python package; memory beside all. Ours again, without
huge pages, shows what those bring.

The model has SmolLM-135M's shape and random weights: speed does not depend on them (generation_models.py). Every round
opens every way in a fresh process with as many cores as threads (generation_worker.py), in another order; it answers
prompts of two lengths greedily, a batch of one. Tokens after the first count about which the processor kept its pace;
the wait for the first, too long for that, is the least of five. A process that met a slower processor than others did
is run again. Ratios are to ours of the same precision in the same round, above 1 where ours is faster. Greedy answers
of all fp32 ways must be the same.

PYTHON is an interpreter with onnxruntime-genai and transformers, and for llama.cpp with llama-cpp-python and gguf; what
it lacks is skipped and named.

Usage: python benchmarks/generation_speed.py DATA WORK PYTHON [ROUNDS]; default 7. DATA has train.txt and test.txt.
Models are made in WORK and stay there. The last line is one JSON object.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import generation_models
import lab
import numpy as np
from tokenizers import Tokenizer

PROMPTS = (32, 256)
TOKENS = 32
CAPACITY = 512
REPEATS = 5  # of each prompt in a process
_SAME_PACE = 1.1  # times the best that a process met
_TRIES = 4
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
    palette = work / "ours-palette"
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


def measured(found: Mapping[str, Contender], threads: int, rounds: int) -> dict[str, list[Run]]:
    """Every contender's run of every round."""
    order, runs, best_us = random.Random(threads), {name: list[Run]() for name in found}, float("inf")
    for number in range(rounds):
        for name in order.sample(list(found), len(found)):
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


def _of(run: Run, prompt: str, key: str) -> float:
    return float(run["runs"][prompt][key])


def figures(runs: Mapping[str, Sequence[Run]], prompt: str) -> dict[str, Any]:
    """Of each contender: the times of a prompt, tokens a second, and how much faster ours is."""
    times = {name: {key: np.array([_of(run, prompt, key) for run in of]) for key in _KEYS} for name, of in runs.items()}
    result: dict[str, Any] = {}
    for name, of in times.items():
        own = times[f"ours {precision_of(name)}"]
        result[name] = {key: spread(values) for key, values in of.items()}
        result[name]["tokens_a_second"] = spread(1000 / of["token_ms"])
        result[name]["over_ours"] = {key: spread(of[key] / own[key]) for key in _KEYS}
    return result


def against_genai(figures_of: Mapping[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    """By precision, how much faster ours is than onnxruntime-genai's defaults, and than the fastest of its ways."""
    result = {}
    for precision in ("fp32", "int4"):
        ways = {name: of["over_ours"] for name, of in figures_of.items() if name.startswith(f"genai {precision}")}
        if ways:
            defaults = ways[f"genai {precision}"]
            best = {key: min(of[key][0] for of in ways.values()) for key in _KEYS}
            result[precision] = {"defaults": {key: defaults[key][0] for key in _KEYS}, "best": best}
    return result


def spread(values: Any) -> list[float]:
    """Median and quartiles."""
    return [round(float(value), 3) for value in np.percentile(values, [50, 25, 75])]


def memory(runs: Mapping[str, Sequence[Run]]) -> dict[str, dict[str, float]]:
    """Medians in 10⁶ bytes: after imports, once it is open, after all answers, of that not of files, and at most."""
    return {name: {key: round(median(run[key] for run in of), 1) for key in _MEMORY} for name, of in runs.items()}


def same(runs: Mapping[str, Sequence[Run]], prompt: str, tokenizer: Tokenizer) -> dict[str, bool]:
    """Whether every fp32 way answers as ours did first, every time.

    What ours generates begins with whole characters, or its first piece would come later than its first token.
    """
    given = {name: [ids for run in of for ids in run["runs"][prompt]["answers"]] for name, of in runs.items()}
    for name, found in given.items():
        assert not name.startswith("ours") or "\ufffd" not in tokenizer.decode(found[0][:1]), "take another seed"
    first = given["ours fp32"][0]
    return {name: all(ids == first for ids in of) for name, of in given.items() if precision_of(name) == "fp32"}


def main(data: str, work_folder: str, python: str, rounds: str = "7") -> None:
    """One thread, then as many as there are cores; keep the comparison."""
    work = Path(work_folder).resolve()
    work.mkdir(parents=True, exist_ok=True)
    folder = generation_models.checkpoint(Path(data) / "train.txt", work / "checkpoint")
    prompts = generation_models.prompts(Path(data) / "test.txt", folder, PROMPTS)
    found, skipped, versions = contenders(work, folder, prompts, python)
    result: dict[str, Any] = {"rounds": int(rounds), "tokens": TOKENS, "capacity": CAPACITY}
    result |= {"versions": versions, "skipped": skipped, "threads": {}}
    for threads in sorted({1, len(os.sched_getaffinity(0))}):
        runs = measured(found, threads, int(rounds))
        prompted = {prompt: figures(runs, prompt) for prompt in prompts}
        claims = {prompt: against_genai(of) for prompt, of in prompted.items()}
        result["threads"][threads] = {"against_genai": claims, "prompts": prompted} | {
            "memory": memory(runs),
            "same_answers": {prompt: same(runs, prompt, generation_models.tokenizer_in(folder)) for prompt in prompts},
        }
    lab.keep("generation-speed", result)


if __name__ == "__main__":
    main(*sys.argv[1:])
