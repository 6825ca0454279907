"""Measure what a palette's subnets cost on this machine.

Latency: a process that holds many sessions and runs them interleaved, so that a machine that slows down slows all of
them. Memory and load times: each subnet in a fresh process. Nothing is measured in the caller's own process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import mean

from pydantic import BaseModel, ConfigDict

from edgedistill.device_profiles.conditions import OtherLoad, ProcessorWatch, measured_conditions
from edgedistill.device_profiles.job import Job, LatencyResult, MemoryResult
from edgedistill.device_profiles.measurement_plan import DEFAULT_LENGTHS, MeasurementPlan, plan_measurements
from edgedistill.device_profiles.partial_results import PartialResults
from edgedistill.device_profiles.prediction import complete_latencies
from edgedistill.device_profiles.worker_process import run_worker
from edgedistill.errors import InputError
from edgedistill.palette import (
    PROFILE_VERSION,
    DeviceInfo,
    DeviceProfile,
    LatencyPoint,
    Palette,
    SubnetEntry,
    SubnetProfile,
)

__all__ = ["profile"]

_BUDGET_S_A_POINT = 0.8
_MAX_IDS = 1000
_METHODS = {
    True: "measured: memory in a fresh process a subnet, latency of subnets interleaved in one process",
    False: "measured as a whole profile is, latency for a few subnets and shapes; the rest predicted by the work of a "
    "pass",
}
_EMULATED = "; EMULATED: latencies and memory are the emulator's, and say nothing of a board"

Progress = Callable[[int, int], None]


class _Part(BaseModel):
    """Hold a result, with the CPU seconds of other processes meanwhile, and those available."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    result: LatencyResult | MemoryResult
    seconds: tuple[float, float]


def profile(
    palette: Palette,
    *,
    lengths: Iterable[int] = DEFAULT_LENGTHS,
    batches: Iterable[int] = (1,),
    threads: Iterable[int] | None = None,
    quick: bool = False,
    width: float = 0.03,
    rounds: int = 200,
    unfinished: Path | None = None,
    on_progress: Progress | None = None,
) -> DeviceProfile:
    """Measure latency, load times and memory of every subnet on this machine; the profile is not written.

    Args:
        palette: the palette to measure.
        lengths: lengths in tokens, cut to the longest that the palette accepts.
        batches: sequences per run.
        threads: numbers of threads per session; memory is measured with the first, which is the profile's main one.
            None for all cores that this process may use.
        quick: measure the latency of a few subnets at the extreme lengths and batches, and predict the rest. Memory and
            load times of all subnets are still measured: a line through a few was up to 14 % off.
        width: stop when the 95 % interval of nine medians in ten reaches no further to either side, as a share of the
            median. A quick profile takes all its rounds.
        rounds: maximum samples of each point; a slow machine takes fewer.
        unfinished: the file that keeps partial results, from which an interrupted profile resumes. Delete it once the
            profile is written.
        on_progress: ``on_progress(done, total)`` counts rounds run and subnets loaded.

    Raises:
        InputError: a length, batch, number of threads or number of rounds is below 1, or the width is not positive.
        PaletteError: a file was altered.
        OnnxruntimeMissing: onnxruntime cannot be imported.
        EdgeDistillError: a worker process failed; the message has its reason.
    """
    from edgedistill.runtime.device import describe_device
    from edgedistill.runtime.external_data import check_external_data
    from edgedistill.runtime.onnx import usable_cores
    from edgedistill.runtime.sensors import free_memory_mb
    from edgedistill.runtime.snapshot import private_copy

    if rounds < 1 or not width > 0:
        raise InputError(f"rounds: got {rounds}, width: got {width}; expected 1 or more, and a positive share")
    plan = plan_measurements(
        palette,
        lengths=lengths,
        batches=batches,
        threads=(usable_cores(),) if threads is None else threads,
        quick=quick,
        free_mb=free_memory_mb(),
    )
    device = describe_device()
    palette = private_copy(palette)
    for entry in palette.manifest.subnets:
        check_external_data(palette.graph_path(entry.name), {entry.weights})
    run = _Run(
        palette, plan, device, 0.0 if quick else width, rounds, unfinished, on_progress or (lambda _done, _total: None)
    )
    return run.measured()


class _Run:
    """Measure one profile."""

    def __init__(
        self,
        palette: Palette,
        plan: MeasurementPlan,
        device: DeviceInfo,
        width: float,
        rounds: int,
        unfinished: Path | None,
        on_progress: Progress,
    ) -> None:
        self._palette, self._plan, self._device = palette, plan, device
        self._job = _job(palette, plan, width, rounds)
        self._watch = ProcessorWatch()
        self._seconds: list[tuple[float, float]] = []
        self._kept_pace: list[float] = []
        key = hashlib.sha256(f"{palette.manifest.digest} {plan} {device} {width} {rounds}".encode()).hexdigest()
        self.partial = PartialResults(unfinished, key)
        self._on_progress, self._done = on_progress, 0
        self._total = rounds * len(plan.groups) * len(plan.threads) + len(palette.manifest.subnets)

    def measured(self) -> DeviceProfile:
        """Return the profile, measuring what is missing."""
        self._on_progress(0, self._total)
        latency: dict[str, list[LatencyPoint]] = {name: [] for name in self._plan.subnets}
        for threads in self._plan.threads:
            for place, group in enumerate(self._plan.groups):
                for name, points in self._latency(threads, place, group).latency.items():
                    latency[name] += points
        every = complete_latencies(self._palette, self._plan, latency)
        smallest = min(every, key=lambda name: every[name][0].p50_ms)
        subnets = [self._subnet(entry, every[entry.name], smallest) for entry in self._palette.manifest.subnets]
        is_whole = all(point.samples for subnet in subnets for point in subnet.latency)
        return DeviceProfile(
            schema_version=PROFILE_VERSION,
            kind="measured" if is_whole else "quick",
            method=_METHODS[is_whole] + (_EMULATED if self._device.emulated else ""),
            manifest_digest=self._palette.manifest.digest,
            device=self._device,
            conditions=measured_conditions(self._plan.threads[0], self._watch, self._seconds, mean(self._kept_pace)),
            smallest=smallest,
            subnets=subnets,
        )

    def _latency(self, threads: int, place: int, group: tuple[str, ...]) -> LatencyResult:
        graphs = {name: str(self._palette.graph_path(name)) for name in group}
        budget_s = _BUDGET_S_A_POINT * len(group) * len(self._job.shapes)
        job = self._job.model_copy(update={"graphs": graphs, "threads": threads, "budget_s": budget_s})
        result = self._measure(f"latency {threads} {place}", job, self._job.rounds)
        assert isinstance(result, LatencyResult)
        self._kept_pace.append(result.kept_pace)
        return result

    def _subnet(self, entry: SubnetEntry, latency: list[LatencyPoint], smallest: str) -> SubnetProfile:
        graphs = {name: str(self._palette.graph_path(name)) for name in (entry.name, smallest)}
        weights = str(self._palette.files / entry.weights)
        job = self._job.model_copy(update={"task": "memory", "graphs": graphs, "weights": weights})
        memory = self._measure(f"memory {entry.name}", job, 1)
        assert isinstance(memory, MemoryResult)
        return SubnetProfile(
            subnet=entry.name,
            latency=latency,
            load_ms=round(memory.load_ms, 2),
            cold_load_ms=round(memory.cold_load_ms, 2),
            peak_mb=round(memory.peak_mb, 3),
            steady_mb=round(memory.steady_mb, 3),
            with_smallest_mb=round(memory.with_smallest_mb, 3),
        )

    def _measure(self, name: str, job: Job, steps: int) -> LatencyResult | MemoryResult:
        """Return the job's result, running it unless an earlier run has, and count it."""
        part = self.partial.get(name, _Part)
        if part is None:
            load = OtherLoad()
            kind = MemoryResult if job.task == "memory" else LatencyResult
            result = kind.model_validate_json(run_worker(job, self._on_round))
            part = _Part(result=result, seconds=load.since_start(result.cpu_s))
            self.partial.put(name, part)
        self._seconds.append(part.seconds)
        self._done += steps
        self._on_progress(self._done, self._total)
        return part.result

    def _on_round(self, done: int) -> None:
        self._watch.look()
        if done < self._job.rounds:
            self._on_progress(self._done + done, self._total)


def _job(palette: Palette, plan: MeasurementPlan, width: float, rounds: int) -> Job:
    from edgedistill.runtime.text.tokenization import load_tokenizer

    return Job(
        task="latency",
        graphs={name: str(palette.graph_path(name)) for name in plan.subnets},
        weights="",
        inputs=palette.manifest.graph_inputs,
        shapes=plan.measured_shapes,
        threads=plan.threads[0],
        vocabulary=min(_MAX_IDS, load_tokenizer(palette).get_vocab_size()),
        width=width,
        rounds=rounds,
        budget_s=0.0,
    )
