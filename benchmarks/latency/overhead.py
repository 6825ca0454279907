"""Measure what an adaptive session adds to onnxruntime's own session on the same subnet.

Claim: at the median at most 30 µs on the smallest subnet and 2 % on the largest; at p99 no more than two plain
sessions differ from each other.

The adaptive session serves the very session that is timed next to it, since two sessions of one graph differ by some
percent by their place in memory. Four more plain sessions show that difference, pair by pair. Every turn shuffles them
and runs each several times in a row. The first run of a row does not count: an application has one code path, warm
from its last run. One thread, batch 1. Only runs during which the processor kept its pace count; the p99 of all runs
is next to them. Intervals are 95 %, by bootstrap.

Needs: a palette of an encoder
Takes: about 5 minutes
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from itertools import combinations, product
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.shared import output
from benchmarks.shared.arguments import PaletteFolder
from edgedistill.device_profiles.timed_runs import TimedRuns, Yardstick
from edgedistill.palette import Palette, load
from edgedistill.runtime import AdaptiveSession
from edgedistill.runtime.onnx import create_session

TOKENS = 16
PLAIN = 5
_WARM = 20  # turns
_IN_A_ROW = 5
_DRAWS = 500  # of the bootstrap

Feeds = dict[str, NDArray[np.int64]]
Run = Callable[[None, Feeds], Any]
Times = dict[str, NDArray[np.float64]]


def feeds_of(palette: Palette) -> Feeds:
    """Return random ids [1, 16] without padding."""
    ids = np.random.default_rng(0).integers(0, 1000, (1, TOKENS))
    made = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    return {spec.name: made[spec.name] for spec in palette.manifest.graph_inputs}


def timed(runs: dict[str, Run], feeds: Feeds, count: int) -> tuple[Times, Times]:
    """Microseconds of every single run, and of those that count."""
    order, yardstick = random.Random(0), Yardstick()
    every: dict[str, list[float]] = {name: [] for name in runs}
    paced, look_us = TimedRuns(list(runs)), yardstick.look_us()
    for turn in range(count // (_IN_A_ROW - 1) + _WARM):
        for name, place in product(order.sample(list(runs), len(runs)), range(_IN_A_ROW)):
            start_s = time.perf_counter()
            runs[name](None, feeds)
            took_us = 1e6 * (time.perf_counter() - start_s)
            before_us, look_us = look_us, yardstick.look_us()
            if place and turn >= _WARM:
                every[name].append(took_us)
                paced.add(name, took_us, max(before_us, look_us))
    paced.judge()
    return {name: np.array(every[name]) for name in runs}, {name: np.array(paced.counted(name)) for name in runs}


def measured(palette: Palette, subnet: str, count: int) -> dict[str, Any]:
    """Measure one subnet's medians and p99, and how far they differ."""
    plain = [create_session(palette.graph_path(subnet), 1) for _ in range(PLAIN)]
    with AdaptiveSession(palette, only=[subnet], create=lambda _: plain[0]) as session:
        runs: dict[str, Run] = {f"plain {number}": one.run for number, one in enumerate(plain)}
        runs["adaptive"] = session.run
        every, paced = timed(runs, feeds_of(palette), count)
    over_us = _apart(paced["adaptive"], paced["plain 0"], 50)
    return {
        "subnet": subnet,
        "counted": len(paced["adaptive"]),
        "p50_us": round(float(np.median(paced["plain 0"])), 1),
        "over_us": over_us,
        "over_share": round(over_us[0] / float(np.median(paced["plain 0"])), 4),
        "p99": _tail(paced),
        "p99_of_all": _tail(every),
    }


def _tail(times: Times) -> dict[str, Any]:
    """99th percentiles: a plain session's, how much larger the adaptive one's is, and how far apart two plain are."""
    p99_us = [float(np.percentile(took_us, 99)) for name, took_us in times.items() if name != "adaptive"]
    apart_us = [abs(one - other) for one, other in combinations(p99_us, 2)]
    return {
        "plain_us": round(p99_us[0], 1),
        "over_us": _apart(times["adaptive"], times["plain 0"], 99),
        "plain_apart_us": [round(of(apart_us), 1) for of in (median, min, max)],
    }


def _apart(one: NDArray[np.float64], other: NDArray[np.float64], percentile: float) -> list[float]:
    """Return by how much the first is larger, and the ends of its interval."""
    rng = np.random.default_rng(0)
    drawn = [
        float(np.percentile(_again(rng, one), percentile) - np.percentile(_again(rng, other), percentile))
        for _ in range(_DRAWS)
    ]
    here = float(np.percentile(one, percentile) - np.percentile(other, percentile))
    return [round(float(value), 1) for value in (here, *np.percentile(drawn, [2.5, 97.5]))]


def _again(rng: np.random.Generator, values: NDArray[np.float64]) -> NDArray[np.float64]:
    return rng.choice(values, len(values))


def main(
    palette_folder: PaletteFolder, runs: Annotated[int, typer.Option(min=100, help="runs of each session")] = 4000
) -> None:
    """Compare the smallest and the largest subnet in fp32, and save the comparison."""
    palette = load(palette_folder)
    entries = sorted((e for e in palette.manifest.subnets if e.precision == "fp32"), key=lambda entry: entry.macs)
    found = {size: measured(palette, entry.name, runs) for size, entry in _ends(entries).items()}
    output.save_result("overhead", {"runs": runs, "tokens": TOKENS, "sizes": found})


def _ends(entries: list[Any]) -> dict[str, Any]:
    return {"smallest": entries[0], "largest": entries[-1]}
