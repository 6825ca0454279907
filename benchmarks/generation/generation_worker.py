"""Run one engine of generation_contest.py: open one model and answer prompts greedily.

Each runs in a fresh process, of whatever interpreter has its engine. Nothing here imports torch unless the engine
does. Every interpreter has numpy.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

# By its file alone: the package's own imports would count as memory of every way.
sys.path.append(str(Path(__file__).parents[2] / "edgedistill" / "device_profiles"))
import timed_runs  # type: ignore[import-not-found]

_LONGEST_S = 900

Job = Mapping[str, Any]
Answer = Callable[[Sequence[int], int, Callable[[], None]], list[int]]
"""A prompt's ids and how many are to follow them to those; what is called whenever one more is there."""


def with_edgedistill(job: Job) -> Answer:
    """Our product's own loop, its text included, which the others do not make."""
    from edgedistill.runtime import TextGenerator

    folder, member = job["model"]
    generator = TextGenerator(folder, only=[member], threads=job["threads"])

    def answer(prompt: Sequence[int], tokens: int, tick: Callable[[], None]) -> list[int]:
        with generator.stream(list(prompt), max_new_tokens=tokens) as stream:
            for _ in stream:  # a piece a token, but where a character takes several
                tick()
        return stream.result.token_ids

    return answer


def in_small_pages(job: Job) -> Answer:
    """Generate as `with_edgedistill` does, where the system gives this process no huge pages."""
    import ctypes

    assert ctypes.CDLL(None).prctl(41, 1, 0, 0, 0) == 0  # PR_SET_THP_DISABLE
    return with_edgedistill(job)


def with_transformers(job: Job) -> Answer:
    """Generate by its eager fp32 model and its growing cache, in the shortest loop possible."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(job["threads"])
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32).eval()

    def answer(prompt: Sequence[int], tokens: int, tick: Callable[[], None]) -> list[int]:
        ids, cache, found = torch.tensor([list(prompt)]), None, list[int]()
        with torch.inference_mode():
            while len(found) < tokens:
                out = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
                ids, cache = out.logits[:, -1].argmax(-1, keepdim=True), out.past_key_values
                found.append(int(ids))
                tick()
        return found

    return answer


def with_genai(job: Job) -> Answer:
    """onnxruntime-genai's model and its generator, a new one for each prompt, as it wants it."""
    import onnxruntime_genai as genai  # type: ignore[import-not-found, unused-ignore]

    config = genai.Config(job["model"])
    options = {"intra_op_num_threads": job["threads"]}
    config.overlay(json.dumps({"model": {"decoder": {"session_options": options}}}))
    model = genai.Model(config)

    def answer(prompt: Sequence[int], tokens: int, tick: Callable[[], None]) -> list[int]:
        parameters = genai.GeneratorParams(model)
        parameters.set_search_options(max_length=len(prompt) + tokens, do_sample=False)
        generator, found = genai.Generator(model, parameters), list[int]()
        generator.append_tokens(list(prompt))
        while not generator.is_done():
            generator.generate_next_token()
            found.append(int(generator.get_next_tokens()[0]))
            tick()
        return found

    return answer


def with_llama_cpp(job: Job) -> Answer:
    """llama.cpp through its Python package; what it remembers of the last prompt does not count."""
    from llama_cpp import Llama  # type: ignore[import-not-found, unused-ignore]

    threads = {"n_threads": job["threads"], "n_threads_batch": job["threads"]}
    model = Llama(job["model"], n_ctx=job["capacity"], verbose=False, **threads)

    def answer(prompt: Sequence[int], tokens: int, tick: Callable[[], None]) -> list[int]:
        model.reset()
        found = list[int]()
        for token in islice(model.generate(list(prompt), temp=0.0, top_k=1, repeat_penalty=1.0), tokens):
            found.append(token)
            tick()
        return found

    return answer


# Each way, and what it imports.
WAYS: dict[str, tuple[Callable[[Job], Answer], tuple[str, ...]]] = {
    "edgedistill": (with_edgedistill, ("edgedistill.runtime", "onnxruntime", "tokenizers")),
    "edgedistill, small pages": (in_small_pages, ("edgedistill.runtime", "onnxruntime", "tokenizers")),
    "transformers": (with_transformers, ("torch", "transformers.models.llama.modeling_llama")),
    "onnxruntime-genai": (with_genai, ("numpy", "onnxruntime_genai")),
    "llama.cpp": (with_llama_cpp, ("numpy", "llama_cpp")),
}
_DISTRIBUTIONS = ("onnxruntime", "torch", "transformers", "onnxruntime-genai", "llama-cpp-python")


class Timing:
    """A prompt's answer as it comes: when each token is there, and about each how fast the processor is.

    It is looked at between two tokens, whose time it is no part of.
    """

    def __init__(self) -> None:
        self._yardstick = timed_runs.Yardstick()
        self._looks_us = list[float]()
        self._clock_s = [(time.perf_counter(), time.perf_counter())]

    def tick(self) -> None:
        """Record the time of one more token."""
        there_s = time.perf_counter()
        self._looks_us.append(self._yardstick.look_us())
        self._clock_s.append((there_s, time.perf_counter()))

    def tokens_ms(self) -> list[float]:
        """Milliseconds to the first token, and from each to the next."""
        return [1000 * (there_s - since_s) for (_, since_s), (there_s, _) in pairwise(self._clock_s)]

    def slower_looks_us(self) -> list[float]:
        """About each token but the first, the slower one of two."""
        return [max(about) for about in pairwise(self._looks_us)]


def timed(answer: Answer, prompt: Sequence[int], tokens: int) -> tuple[list[int], Timing]:
    """Return the answer and its times."""
    timing = Timing()
    ids = answer(prompt, tokens, timing.tick)
    assert len(ids) == tokens, f"it stopped after {len(ids)} of {tokens} tokens"
    return ids, timing


def memory(key: str) -> float:
    """Return the memory of this process, in 10⁶ bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{key}:"))


def serve(job: Job, answer: Answer) -> None:
    """Answer each prompt that a line names, with the figures of that, until a line has none."""
    while (name := json.loads(sys.stdin.readline())) is not None:
        ids, timing = timed(answer, job["prompts"][name], job["tokens"])
        first_ms, *tokens_ms = timing.tokens_ms()
        say({"ids": ids, "first_ms": first_ms, "tokens_ms": tokens_ms, "looks_us": timing.slower_looks_us()})


def say(found: Mapping[str, Any]) -> None:
    """Print a document on a line of its own."""
    print(json.dumps(found), flush=True)


def installed() -> dict[str, str]:
    """Return the versions of the installed engines."""
    found = {one.metadata["Name"].replace("_", "-"): one.version for one in metadata.distributions()}
    return {name: found[name] for name in _DISTRIBUTIONS if name in found}


def main() -> None:
    """Do the job of the first line of standard input, on the last cores there are; without one, tell what there is."""
    signal.alarm(_LONGEST_S)
    job = json.loads(sys.stdin.readline() or "null")
    if job is None:
        say(installed())
        return
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-job["threads"] :])
    opened, imports = WAYS[job["way"]]
    for name in imports:
        importlib.import_module(name)
    imported_mb = memory("VmRSS")
    answer = opened(job)
    timed(answer, min(job["prompts"].values(), key=len), 2)  # what only the first answer pays
    say({"imported_mb": imported_mb, "open_mb": memory("VmRSS")})
    serve(job, answer)
    say({"steady_mb": memory("VmRSS"), "anonymous_mb": memory("RssAnon"), "peak_mb": memory("VmHWM")})


if __name__ == "__main__":
    main()
