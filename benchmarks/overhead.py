"""What an adaptive session costs over onnxruntime's own on the same subnet.

Claim: at most 30 µs on the smallest subnet and 2 % on the largest at the median; at the 99th percentile no more than
two plain sessions differ from each other. The adaptive session serves the very session that is timed beside it, since
two sessions of one graph differ by some percent by where their memory lies; another plain one shows by how much. Single
runs in another order each time, one thread, batch 1.

Usage: python benchmarks/overhead.py PALETTE [RUNS]; default 3000 of each. The last line is one JSON object.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lab
import numpy as np
from numpy.typing import NDArray

from edgedistill.manifest import Palette, load
from edgedistill.runtime import AdaptiveSession
from edgedistill.runtime.onnx import create_session

TOKENS = 16
KINDS = ("adaptive", "plain", "plain, another")
_WARM = 50
_DRAWS = 500  # of the bootstrap

Feeds = dict[str, NDArray[np.int64]]
Run = Callable[[None, Feeds], Any]


def feeds_of(palette: Palette) -> Feeds:
    """Random ids [1, 16], all of them attended to."""
    ids = np.random.default_rng(0).integers(0, 1000, (1, TOKENS))
    made = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    return {spec.name: made[spec.name] for spec in palette.manifest.inputs}


def timed(runs: dict[str, Run], feeds: Feeds, count: int) -> dict[str, NDArray[np.float64]]:
    """Microseconds of every single run."""
    order, found = random.Random(0), {name: list[float]() for name in runs}
    for turn in range(count + _WARM):
        for name in order.sample(list(runs), len(runs)):
            start_s = time.perf_counter()
            runs[name](None, feeds)
            if turn >= _WARM:
                found[name].append(1e6 * (time.perf_counter() - start_s))
    return {name: np.array(values) for name, values in found.items()}


def measured(palette: Palette, subnet: str, count: int) -> dict[str, Any]:
    """One subnet's medians and 99th percentiles, and how far they differ."""
    plain = [create_session(palette.graph_path(subnet), 1) for _ in range(2)]
    with AdaptiveSession(palette, only=[subnet], create=lambda _: plain[0]) as session:
        every: list[Run] = [session.run, *(one.run for one in plain)]
        runs = dict(zip(KINDS, every, strict=True))
        times = timed(runs, feeds_of(palette), count)
    same = times["plain"]
    p50 = {name: float(np.median(values)) for name, values in times.items()}
    p99 = {name: float(np.percentile(values, 99)) for name, values in times.items()}
    over_us = p50["adaptive"] - float(np.median(same))
    rng = np.random.default_rng(0)
    drawn = [float(np.median(_again(rng, times["adaptive"])) - np.median(_again(rng, same))) for _ in range(_DRAWS)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {
        "subnet": subnet,
        "p50_us": {name: round(value, 1) for name, value in p50.items()},
        "p99_us": {name: round(value, 1) for name, value in p99.items()},
        "over_us": [round(float(value), 1) for value in (over_us, low, high)],
        "over_share": round(over_us / float(np.median(same)), 4),
    }


def _again(rng: np.random.Generator, values: NDArray[np.float64]) -> NDArray[np.float64]:
    return rng.choice(values, len(values))


def main(palette_folder: str, runs: str = "3000") -> None:
    """The smallest and the largest subnet in fp32; keep the comparison."""
    palette = load(Path(palette_folder))
    entries = sorted((e for e in palette.manifest.subnets if e.precision == "fp32"), key=lambda entry: entry.macs)
    found = {size: measured(palette, entry.name, int(runs)) for size, entry in _ends(entries).items()}
    lab.keep("overhead", {"runs": int(runs), "tokens": TOKENS, "sizes": found})


def _ends(entries: list[Any]) -> dict[str, Any]:
    return {"smallest": entries[0], "largest": entries[-1]}


if __name__ == "__main__":
    main(*sys.argv[1:])
