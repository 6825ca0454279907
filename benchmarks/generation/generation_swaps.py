"""Swap subnets in mid-text on a busy machine, and check every text and its memory.

Claim: 100 texts from four threads, next to a process that burns the CPU, all end as they should. Another subnet is
pinned at every twelfth token of each text, unless a pin is under way. Each run of tokens equals what its subnet alone
generates after the tokens before it, computed afterwards by a generator that serves that subnet only. At the end no
cache is held, and the process is as large as after the first tenth of the texts, to 5 MB. The exit code is 1 if the
claim does not hold.

Needs: a palette for text-generation with two subnets or more
Takes: about 2 minutes
"""

from __future__ import annotations

import gc
import threading
import time
from collections import Counter
from itertools import cycle
from statistics import median
from typing import Annotated

import psutil
import typer

from benchmarks.shared import output
from benchmarks.shared.arguments import PaletteFolder
from edgedistill.demo.load import CpuLoad
from edgedistill.palette import Palette, load
from edgedistill.runtime import Generated, TextGenerator
from edgedistill.runtime.engine.switches import give_back_memory

THREADS, TEXTS, TOKENS = 4, 100, 120
EVERY_TOKENS = 12  # of one text
MOST_GROWTH_MB = 5.0
WAIT_S = 10.0
PROMPTS = ["Once upon a time", "One day, a dog", "The old man said", "She wanted to", "It was late, and"]


class Work:
    """Texts to be generated, by as many threads as there are, and what came of them."""

    def __init__(self, generator: TextGenerator, texts: int, tokens: int) -> None:
        self._generator, self._tokens = generator, tokens
        self._left = list(range(texts))
        self._lock, self._pinning = threading.Lock(), threading.Lock()
        self._pins = cycle(generator.subnets)
        self.done: dict[int, Generated] = {}
        self.failed: list[str] = []

    def run(self, texts: int) -> None:
        """Write that many more texts."""
        end = len(self.done) + texts
        threads = [threading.Thread(target=self._some, args=(end,)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _some(self, end: int) -> None:
        while True:
            with self._lock:
                if not self._left or self._left[0] >= end:
                    return
                place = self._left.pop(0)
            try:
                self.done[place] = self._text(place)
            except Exception as error:  # noqa: BLE001 (a lost text is what this looks for)
                self.failed.append(f"text {place}: {error!r}")

    def _text(self, place: int) -> Generated:
        with self._generator.stream(prompt_of(place), max_new_tokens=self._tokens) as stream:
            for count, _ in enumerate(stream):
                if count % EVERY_TOKENS == 0 and self._pinning.acquire(blocking=False):
                    try:
                        self._exchange(next(self._pins))
                    finally:
                        self._pinning.release()
            return stream.result

    def _exchange(self, subnet: str) -> None:
        self._generator.pin(subnet)
        end_s = time.monotonic() + WAIT_S
        while self._generator.active != subnet and time.monotonic() < end_s:
            time.sleep(0.002)


def prompt_of(place: int) -> str:
    """Return the prompt of the text of that number."""
    return PROMPTS[place % len(PROMPTS)]


def garbled(palette: Palette, done: dict[int, Generated]) -> list[str]:
    """Return the texts that differ, run by run, from what each subnet alone would have continued with."""
    wrong: list[str] = []
    runs = [(place, *run) for place, one in done.items() for run in _runs(one)]
    for subnet in sorted({subnet for _, subnet, _, _ in runs}):
        with TextGenerator(palette, only=[subnet]) as alone:
            for place, name, start, count in runs:
                if name == subnet and not _is_right(alone, done[place], prompt_of(place), start, count):
                    wrong.append(f"text {place}, {count} tokens from {start} by {subnet}")
    return wrong


def _runs(one: Generated) -> list[tuple[str, int, int]]:
    """Subnet, first token, tokens; without the token that ends texts, which is not listed."""
    found, start = [], 0
    for subnet, count in one.subnets:
        found.append((subnet, start, min(count, len(one.token_ids) - start)))
        start += count
    return [run for run in found if run[2] > 0]


def _is_right(alone: TextGenerator, one: Generated, prompt: str, start: int, count: int) -> bool:
    ids = alone.token_ids(prompt) + one.token_ids[:start]
    return alone.generate(ids, max_new_tokens=count).token_ids == one.token_ids[start : start + count]


def resident_mb() -> float:
    """Return the resident memory of this process, after free memory has been given back."""
    gc.collect()
    give_back_memory()
    return float(psutil.Process().memory_info().rss) / 1e6


def measure(palette: Palette, texts: int, tokens: int) -> dict[str, object]:
    """Generate, then check."""
    start_s = time.perf_counter()
    with TextGenerator(palette, interval_s=0.02) as generator, CpuLoad() as burning:
        burning.set(1)
        work = Work(generator, texts, tokens)
        work.run(max(1, texts // 10))
        generator.pin(generator.subnets[0])
        time.sleep(0.5)
        first_mb = resident_mb()
        work.run(texts - len(work.done))
        swaps = generator.swaps
        generator.pin(generator.subnets[0])
        time.sleep(0.5)  # for the last ones to drain
        last_mb, held = resident_mb(), generator.cached_tokens
    took_s = time.perf_counter() - start_s
    wrong = garbled(palette, work.done)
    done = list(work.done.values())
    moves = sum(len(one.subnets) - 1 for one in done)
    speeds = [one.tokens_per_s for one in done if one.tokens_per_s]
    ok = not work.failed and not wrong and len(done) == texts and held == 0 and last_mb - first_mb <= MOST_GROWTH_MB
    return {
        "texts": len(done),
        "tokens": sum(len(one.token_ids) for one in done),
        "endings": dict(Counter(one.reason for one in done)),
        "exchanges": swaps,
        "moves_in_mid_text": moves,
        "texts_with_moves": sum(len(one.subnets) > 1 for one in done),
        "lost": work.failed,
        "garbled": wrong,
        "cached_tokens_at_the_end": held,
        "resident_mb": {"after_a_tenth": round(first_mb, 1), "at_the_end": round(last_mb, 1)},
        "tokens_per_s_median": round(median(speeds), 1),
        "took_s": round(took_s, 1),
        "ok": ok,
    }


def main(
    palette_folder: PaletteFolder,
    texts: Annotated[int, typer.Option(min=1, help="texts in all")] = TEXTS,
    tokens: Annotated[int, typer.Option(min=1, help="tokens of each text")] = TOKENS,
) -> int:
    """Swap in mid-text, and save the figures."""
    found = measure(load(palette_folder), texts, tokens)
    output.save_result("generation-swaps", found)
    return 0 if found["ok"] else 1
