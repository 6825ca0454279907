"""Check that profiles hold: repeated, predicted from few points, watched from outside, and used by the selector.

Claims, over 24 subnets of one supernet in fp32 at lengths of 16, 32, 64 and 128 tokens on one thread:

1. Two profiles of the quiet machine differ by at most 5 % at the median. Next to it is the machine's own spread: how
much the medians of even and odd runs of one profile differ. A profile taken while another process burns a core says
that the machine was not quiet.

2. A quick profile measures at most 5 subnets at 2 lengths. Its predictions are off by at most 5 % at the median, and
by at most 15 % in 95 % of cases; its 90 % intervals cover 85 to 95 % of the measurements. This holds for predictions
from the points of the two profiles, where only the model can be wrong, and for five quick profiles taken before,
between and after the two, together. Few points estimate their own scatter no better than by a factor of two, so the
coverage differs from profile to profile; the least and the most are next to it.

3. The same holds on two threads and under a CPU quota of half a core. Next to it: the error of a board's estimate for
one and two cores of this kind of machine.

4. The peak memory of each subnet is within 5 % of what an observer of /proc samples every millisecond.

5. The selector makes the same choice by each quick profile as by the first in at least 95 % of 1,000 random budgets.

WORK keeps the palette. Its members are scored on a few hundred rows, since only their order matters.

Needs: a trained supernet and its data; root and control groups of version 1 for the quota, which is left out without
Takes: about an hour
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.shared import data_sets, output
from benchmarks.shared.arguments import DataFolder, SupernetFolder, WorkFolder
from edgedistill.architecture import Subnet
from edgedistill.device_profiles import estimate, load_board, profile
from edgedistill.device_profiles.measurement_plan import plan_measurements
from edgedistill.device_profiles.prediction import complete_latencies
from edgedistill.distillation import mlfs
from edgedistill.exporters import write_palette
from edgedistill.palette import DeviceProfile, LatencyPoint, Palette, load
from edgedistill.runtime.control.decide import Policy, State, decide
from edgedistill.runtime.predict.costs import ProfileCosts
from edgedistill.runtime.predict.slowdown import Size
from edgedistill.runtime.sensors import Readings
from edgedistill.supernet import checkpoint

LENGTHS = (16, 32, 64, 128)
SUBNETS = 24
SCORED_ROWS = 300
BUDGETS = 1000
QUOTA = 0.5  # of a core
_CPU_GROUPS = Path("/sys/fs/cgroup/cpu")

_Key = tuple[str, int]


def family(supernet_folder: Path, data_folder: Path, work: Path) -> Palette:
    """Export the palette of 24 subnets, unless it is there, and load it."""
    if not (work / "palette" / "manifest.json").exists():
        supernet = checkpoint.load(supernet_folder)
        _, data = data_sets.read(data_folder)
        rows = mlfs.encode_data(supernet, data)
        few = {split: getattr(rows, split).subset(range(SCORED_ROWS)) for split in ("validation", "test")}
        teacher = {split: outputs[:SCORED_ROWS] for split, outputs in supernet.teacher.items()}
        small = dataclasses.replace(supernet, teacher=teacher)
        write_palette(small, chosen(supernet), dataclasses.replace(rows, **few), work / "palette", output.log)
    return load(work / "palette")


def chosen(supernet: checkpoint.Supernet) -> list[Subnet]:
    """Choose the full size, the smallest, and others at random."""
    space = [subnet for subnet in supernet.space if subnet != supernet.model.arch.full]
    smallest = supernet.space.minnet
    others = [subnet for subnet in space if subnet != smallest]
    picked = np.random.default_rng(0).choice(len(others), SUBNETS - 2, replace=False)
    return [supernet.model.arch.full, *(others[one] for one in sorted(picked)), smallest]


def medians(found: DeviceProfile) -> dict[_Key, LatencyPoint]:
    """Points by subnet and length, on the first number of threads."""
    threads = found.conditions.threads
    return {(s.subnet, p.tokens): p for s in found.subnets for p in s.latency if p.threads == threads}


def agreement(first: DeviceProfile, second: DeviceProfile) -> dict[str, float]:
    """Relative differences of medians, and how wide the first's own intervals are."""
    one, other = medians(first), medians(second)
    ratios = np.array([other[key].p50_ms / one[key].p50_ms for key in one])
    widths = [(point.high_ms - point.low_ms) / 2 / point.p50_ms for point in one.values()]
    return {
        "median_difference": round(float(np.median(np.abs(ratios - 1))), 4),
        "p95_difference": round(float(np.percentile(np.abs(ratios - 1), 95)), 4),
        "median_ratio": round(float(np.median(ratios)), 4),
        "median_half_interval": round(float(np.median(widths)), 4),
    }


def prediction(found: Sequence[tuple[DeviceProfile, Sequence[DeviceProfile]]]) -> dict[str, Any]:
    """Return how far predictions of quick profiles are from the measurements of whole ones."""
    each = [
        [(guess, medians(whole)[key]) for whole in wholes for key, guess in medians(quick).items() if not guess.samples]
        for quick, wholes in found
    ]
    shares = [np.mean([guess.low_ms <= truth.p50_ms <= guess.high_ms for guess, truth in pairs]) for pairs in each]
    pairs = [pair for pairs in each for pair in pairs]
    errors = np.array([abs(guess.p50_ms / truth.p50_ms - 1) for guess, truth in pairs])
    reach = [guess.high_ms / guess.p50_ms - 1 for guess, _ in pairs]
    return {
        "profiles": len(each),
        "compared": len(pairs),
        "median_error": round(float(np.median(errors)), 4),
        "p95_error": round(float(np.percentile(errors, 95)), 4),
        "over_15_percent": round(float((errors > 0.15).mean()), 4),
        "held_by_the_interval": round(float(np.mean(shares)), 4),
        "held_least": round(float(min(shares)), 4),
        "held_most": round(float(max(shares)), 4),
        "half_interval": round(float(np.median(reach)), 4),
    }


def from_its_own_points(palette: Palette, whole: DeviceProfile) -> DeviceProfile:
    """Predict as a quick profile would from the measurements of a whole one."""
    asked = plan_measurements(
        palette, lengths=LENGTHS, batches=(1,), threads=(whole.conditions.threads,), quick=True, free_mb=None
    )
    few = {
        subnet.subnet: [point for point in subnet.latency if point.tokens in asked.measured_lengths]
        for subnet in whole.subnets
        if subnet.subnet in asked.subnets
    }
    latency = complete_latencies(palette, asked, few)
    subnets = [subnet.model_copy(update={"latency": latency[subnet.subnet]}) for subnet in whole.subnets]
    return whole.model_copy(update={"kind": "quick", "subnets": subnets})


@contextmanager
def burning() -> Iterator[None]:
    """Another process takes a core."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def quota(share: float) -> Iterator[bool]:
    """Limit this process and its children to a share of a core; give False where that cannot be set."""
    group, me = _CPU_GROUPS / f"edgedistill-{os.getpid()}", str(os.getpid())
    try:
        group.mkdir()
        (group / "cpu.cfs_quota_us").write_text(str(int(share * 100_000)))
        (group / "cgroup.procs").write_text(me)
    except OSError as error:
        output.log(f"no CPU quota: {error}")
        yield False
        return
    try:
        yield True
    finally:
        (_CPU_GROUPS / "cgroup.procs").write_text(me)
        time.sleep(0.2)
        group.rmdir()


class Observer:
    """The highest resident memory of a process's children, seen from outside every millisecond."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self.most_mb: dict[int, float] = {}
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._stop.is_set():
            for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
                try:
                    if b"worker" not in Path(f"/proc/{child}/cmdline").read_bytes():
                        continue  # still a copy of this process
                    pages = int(Path(f"/proc/{child}/statm").read_text().split()[1])
                except (OSError, IndexError):
                    continue
                self.most_mb[int(child)] = max(self.most_mb.get(int(child), 0.0), pages * 4096 / 1e6)
            time.sleep(0.001)

    def __enter__(self) -> Observer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def decisions(palette: Palette, one: DeviceProfile, others: Sequence[DeviceProfile]) -> dict[str, float]:
    """Return the share of random budgets at which the other profiles choose the same subnet: mean and least."""
    shares = [same_decisions(palette, one, other) for other in others]
    return {"mean": round(float(np.mean(shares)), 4), "least": round(min(shares), 4)}


def same_decisions(palette: Palette, one: DeviceProfile, other: DeviceProfile) -> float:
    """Return the share of random budgets of latency and memory at which both choose the same subnet."""
    rng = np.random.default_rng(0)
    points = [point.p50_ms for point in medians(one).values()]
    sizes = [subnet.peak_mb for subnet in one.subnets]
    same = 0
    for _ in range(BUDGETS):
        budget_ms = float(np.exp(rng.uniform(np.log(min(points)), np.log(2 * max(points)))))
        budget_mb = float(rng.uniform(min(sizes), 2 * max(sizes)))
        size, policy = Size(1, int(rng.choice(LENGTHS))), Policy(max_latency_ms=budget_ms, max_memory_mb=budget_mb)
        names = [
            decide(ProfileCosts(palette.manifest, of).candidates(size), Readings(), State(), policy, 0.0).subnet
            for of in (one, other)
        ]
        same += names[0] == names[1]
    return same / BUDGETS


def taken(palette: Palette, **options: Any) -> DeviceProfile:
    """Take a profile at the benchmark's lengths."""
    found = profile(palette, lengths=LENGTHS, **options)
    output.log(f"{found.kind}, {options}: quiet {found.conditions.quiet}, others {found.conditions.other_load:.0%}")
    return found


def estimated(palette: Palette, cores: int, measured: DeviceProfile) -> dict[str, float]:
    """Return the estimate for a number of cores of this kind of machine, over what was measured."""
    board = load_board("x86-64-avx2").model_copy(update={"cores": cores})
    truth = medians(measured)
    ratios = [
        point.p50_ms / truth[key].p50_ms for key, point in medians(estimate(palette, board)).items() if key in truth
    ]
    low, median, high = np.percentile(ratios, [5, 50, 95])
    return {"median": round(float(median), 3), "low": round(float(low), 3), "high": round(float(high), 3)}


def main(supernet_folder: SupernetFolder, data_folder: DataFolder, work: WorkFolder) -> int:
    """Measure every claim, and save the figures."""
    palette = family(supernet_folder, data_folder, work)
    whole, quick = quiet(palette)
    with burning():
        beside = taken(palette, threads=(1,), quick=True)
    two = taken(palette, threads=(2,))
    with quota(QUOTA) as limited:
        capped = taken(palette, threads=(1,)) if limited else None
    own = [from_its_own_points(palette, of) for of in whole]
    result = {
        "subnets": SUBNETS,
        "lengths": LENGTHS,
        "conditions": [of.conditions.model_dump(mode="json") for of in (*whole, *quick, beside, two)],
        "twice": agreement(*whole),
        "quiet_beside_a_burning_process": beside.conditions.quiet,
        "predicted": {
            "from the same runs": prediction([(guess, [of]) for guess, of in zip(own, whole, strict=True)]),
            "by quick profiles": prediction([(of, whole) for of in quick]),
            "two threads, from the same runs": prediction([(from_its_own_points(palette, two), [two])]),
        }
        | ({} if capped is None else {"half a core": prediction([(from_its_own_points(palette, capped), [capped])])}),
        "estimate_over_measured": {
            "one core": estimated(palette, 1, whole[0]),
            "two cores": estimated(palette, 2, two),
        },
        "memory": watched(palette),
        "same_decisions": {
            "from the same runs": decisions(palette, whole[0], own[:1]),
            "by quick profiles": decisions(palette, whole[0], quick),
            "by the second profile": decisions(palette, whole[0], whole[1:]),
        },
    }
    output.save_result("profiles", result)
    return 0


def quiet(palette: Palette) -> tuple[list[DeviceProfile], list[DeviceProfile]]:
    """Two whole profiles on one thread, and the quick ones among them."""
    found: dict[str, list[DeviceProfile]] = {"whole": [], "quick": []}
    for kind in ("quick", "whole", "quick", "quick", "whole", "quick", "quick"):
        found[kind].append(taken(palette, threads=(1,), quick=kind == "quick"))
    return found["whole"], found["quick"]


def watched(palette: Palette) -> dict[str, float]:
    """Profiled peak over the observer's, of every subnet; both with the process's own memory before the load."""
    ratios = [memory_ratio(palette, entry.name) for entry in palette.manifest.subnets]
    return {"least": round(min(ratios), 4), "most": round(max(ratios), 4), "subnets": len(ratios)}


def memory_ratio(palette: Palette, name: str) -> float:
    """Return the reported over the observed memory of one of the profiler's worker processes."""
    from edgedistill.device_profiles.job import Job, MemoryResult
    from edgedistill.device_profiles.worker_process import run_worker

    job = Job(
        task="memory",
        graphs={name: str(palette.graph_path(name))},
        weights=str(palette.folder / palette.manifest.subnet(name).weights),
        inputs=palette.manifest.graph_inputs,
        shapes=[(1, tokens) for tokens in LENGTHS],
        threads=1,
        vocabulary=1000,
        width=1.0,
        rounds=1,
        budget_s=1.0,
    )
    with Observer() as observer:
        found = MemoryResult.model_validate_json(run_worker(job, lambda _: None))
    return (found.baseline_mb + max(found.peak_mb, found.with_smallest_mb)) / max(observer.most_mb.values())
