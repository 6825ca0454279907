"""Check that memory comes back, stays in its budget, and that the process survives a hard limit.

Claim: resident memory after 50 swaps is within 5 % of that after 2. While subnets load and swap under a budget, their
memory never exceeds it, sampled every 10 ms. Under a control-group limit that is too small for the largest subnet, the
process is never killed and a smaller subnet serves: with the limit from the start, lowered at once, and lowered in
steps. The exit code is 1 if the claim does not hold.

Every measurement is a fresh process (memory_worker.py). The largest subnet and all of a lower score may serve, so that
the largest serves wherever it fits. A process that only loads the largest shows that the limit is too small: the limit
kills it (memory_limits.py). Where no control group can be made, that part is null.

Needs: a palette with a profile of this machine for batches of 1 and 4; control groups of version 1 for the limits
Takes: about 20 minutes
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from statistics import median

import numpy as np

from benchmarks.latency.overhead import feeds_of
from benchmarks.memory.memory_limits import under_limits
from benchmarks.memory.memory_worker import BATCH, REQUESTS, Figures, Worker, memory_of
from benchmarks.shared import output
from benchmarks.shared.arguments import PaletteFolder, Repeats
from edgedistill.palette import Palette, load
from edgedistill.runtime.predict.candidates import Candidate, smallest, together_mb
from edgedistill.runtime.predict.costs import costs_for
from edgedistill.runtime.predict.slowdown import Size
from edgedistill.runtime.profiles import choose_profile

MOST_CHANGE = 0.05
SAMPLE_S = 0.01
_USUAL = Size(1, 64)  # by which the runtime tells the smallest
_ROOM_MB = 1.0  # of a budget, over what two subnets take


def spread(values: Iterable[float], digits: int = 2) -> list[float]:
    """Median, least and most."""
    known = list(values)
    return [round(value, digits) for value in (median(known), min(known), max(known))]


def sampled(process: Worker) -> list[tuple[float, float]]:
    """Seconds and resident memory, every 10 ms until the process tells something, which no load of its own holds up."""
    found: list[tuple[float, float]] = []
    next_s = time.monotonic()
    while not process.tells_within(next_s - time.monotonic()):
        next_s = max(next_s + SAMPLE_S, time.monotonic())
        found.append((time.monotonic(), memory_of(process.pid)["resident_mb"]))
    return found


def swapped(job: Figures, subnets: Sequence[Candidate], budget_mb: float | None, repeats: int) -> Figures:
    """Memory after swaps, and the highest, over what the process has before any subnet; under a budget or none."""
    job = job | {"role": "swapped", "budget_mb": budget_mb, **named(subnets)}
    runs: list[Figures] = []
    gaps_ms: list[float] = []
    for _ in range(repeats):
        with Worker(job) as process:
            before = process.hear()["resident_mb"]
            process.say()
            samples = sampled(process)
            found = process.hear()
        sampled_mb, peak_mb = max(mb for _, mb in samples) - before, found["peak_mb"] - before
        runs.append(found | {"before": before, "sampled": sampled_mb, "most": max(sampled_mb, peak_mb)})
        gaps_ms.extend(1e3 * np.diff([at_s for at_s, _ in samples]))
        output.log(
            f"budget {budget_mb}: {found['swaps']} swaps, {before:.1f} MB before, at most {runs[-1]['most']:.1f}"
        )
    return {
        "subnets": len(subnets),
        "largest": job["largest"],
        "budget_mb": budget_mb,
        "swaps": [run["swaps"] for run in runs],
        "before_any_subnet_mb": spread(run["before"] for run in runs),
        # With the largest there for the first time, and the last: without a budget after 2 swaps, and after 50.
        "first_mb": spread(run["after_mb"][0] for run in runs),
        "last_mb": spread(run["after_mb"][-1] for run in runs),
        "ratio": spread((run["after_mb"][-1] / run["after_mb"][0] for run in runs), 4),
        "most_ratio": spread((max(run["after_mb"]) / run["after_mb"][0] for run in runs), 4),
        "most_sampled_mb": spread(run["sampled"] for run in runs),
        "most_mb": spread(run["most"] for run in runs),  # by the kernel's peak too
        "sample_gaps_ms": [round(float(gap), 1) for gap in (np.median(gaps_ms), np.max(gaps_ms))],
    }


def named(subnets: Sequence[Candidate]) -> Figures:
    """Return the subnets that may serve, by rising memory, for a job."""
    return {
        "only": [subnet.name for subnet in subnets],
        "largest": subnets[-1].name,
        "smallest": smallest(subnets).name,
    }


def budgeted(job: Figures, subnets: Sequence[Candidate], repeats: int) -> list[Figures]:
    """Budgets just enough for the largest, and for the middle one, beside the smallest."""
    floor, found = smallest(subnets), []
    for largest in (subnets[-1], subnets[len(subnets) // 2]):
        fitting = [subnet for subnet in subnets if subnet is floor or subnet.memory_mb <= largest.memory_mb]
        found.append(swapped(job, fitting, round(together_mb([largest, floor]) + _ROOM_MB), repeats))
    return found


def held(result: Figures) -> bool:
    """Return whether the claim held, as far as it could be measured."""
    _, least, most = result["swapped"]["ratio"]
    comes_back = least >= 1 - MOST_CHANGE and most <= 1 + MOST_CHANGE
    in_budget = all(of["most_sampled_mb"][2] <= of["budget_mb"] for of in result["budgets"])
    limits = result["limits"]
    return comes_back and in_budget and (limits is None or _lives(limits, result["swapped"]["largest"]))


def _lives(limits: Figures, largest: str) -> bool:
    """Return whether the largest alone dies at each limit every time, and ours never, with a smaller one answering."""
    shares = limits["shares_of_the_largest"].values()
    alone = [under["the largest alone"] for under in shares]
    lowered = [under[kind] for under in shares for kind in ("lowered at once", "lowered by and by")]
    ours = [*lowered, *(under["from the start"] for under in shares)]
    return (
        all(of["killed"] == of["processes"] for of in alone)
        and all(of["first"] == [largest] and of["reached"] for of in lowered)
        and all(of["killed"] == 0 and of["fewest_answers"] == REQUESTS for of in ours)
        and all(largest not in of["answers"] for of in ours)
    )


def that_may_serve(palette: Palette) -> list[Candidate]:
    """Return the subnets that may serve, by rising memory."""
    profile = choose_profile(palette)
    if profile is None or profile.kind != "measured":
        sys.exit(f"{palette.folder} has no profile of this machine; run 'edgedistill profile --batches 1,{BATCH}'")
    if BATCH not in {point.batch for point in profile.subnets[0].latency}:
        sys.exit(f"{palette.folder} was profiled without batches of {BATCH}; profile it with --batches 1,{BATCH}")
    every = sorted(costs_for(palette.manifest, profile).candidates(_USUAL), key=lambda subnet: subnet.memory_mb)
    largest = every[-1]
    subnets = [subnet for subnet in every if subnet is largest or subnet.quality < largest.quality]
    if len(subnets) < 2:
        sys.exit(f"every other subnet of {palette.folder} scores better than the largest, which would never serve")
    return subnets


def main(palette_folder: PaletteFolder, repeats: Repeats = 3) -> int:
    """Measure all three parts, and save the figures."""
    palette = load(palette_folder)
    subnets = that_may_serve(palette)
    feeds = {name: ids.tolist() for name, ids in feeds_of(palette).items()}
    job = {"palette": str(palette.folder), "feeds": feeds, **named(subnets)}
    result = {
        "swapped": swapped(job, subnets, None, repeats),
        "budgets": budgeted(job, subnets, repeats),
        "limits": under_limits(palette, job, repeats),
    }
    is_held = held(result)
    output.save_result("memory-returns", result | {"held": is_held})
    return 0 if is_held else 1
