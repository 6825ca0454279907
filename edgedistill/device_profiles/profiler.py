"""Measure what a palette's subnets cost on this machine.

Memory and load time: each subnet in a fresh process. Latency: one process that holds all sessions and runs them
interleaved, so that a machine that slows down slows all of them. Nothing is measured in the caller's own process.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timezone
from typing import IO

import psutil

from edgedistill.device_profiles.job import ROUND, Job, LatencyResult, MemoryResult
from edgedistill.device_profiles.lengths import DEFAULT_LENGTHS, usable_lengths
from edgedistill.errors import EdgeDistillError, InputError
from edgedistill.manifest import (
    PROFILE_VERSION,
    Conditions,
    DeviceProfile,
    Palette,
    SubnetEntry,
    SubnetProfile,
)

__all__ = ["profile"]

_WORKER = "edgedistill.device_profiles.worker"
_BUDGET_S_A_POINT = 0.4
_QUIET_BELOW = 0.1
_MOST_IDS = 1000


def profile(
    palette: Palette,
    *,
    lengths: Iterable[int] = DEFAULT_LENGTHS,
    batch: int = 1,
    threads: int | None = None,
    repeats: int = 40,
    on_progress: Callable[[int, int], None] | None = None,
) -> DeviceProfile:
    """Latency, load time and memory of every subnet on this machine; it is not written anywhere.

    ``lengths`` in tokens, cut to what the palette takes. ``threads``: None for all cores that this process may use.
    ``repeats``: samples of each point, fewer on a slow machine. ``on_progress(done, total)`` counts subnets loaded
    and rounds run.

    Raises:
        InputError: a length, batch, thread count or number of repeats below 1.
        PaletteError: a file was altered.
        OnnxruntimeMissing: no onnxruntime.
        EdgeDistillError: a worker process failed, with its reason.
    """
    from edgedistill.runtime.device import describe_device
    from edgedistill.runtime.onnx import usable_cores

    lengths, threads = tuple(lengths), usable_cores() if threads is None else threads
    _check_positive(lengths=min(lengths, default=0), batch=batch, threads=threads, repeats=repeats)
    device = describe_device()
    palette.check_hashes()
    job = _job(palette, usable_lengths(palette, lengths), batch, threads, repeats)
    load = _OtherLoad()
    memory, latency, smallest = _measure(job, on_progress or (lambda _done, _total: None))
    other_load = load.since_start(sum(result.cpu_s for result in memory.values()) + latency.cpu_s)
    return DeviceProfile(
        schema_version=PROFILE_VERSION,
        kind="measured",
        method="measured: memory in a fresh process a subnet, latency of all subnets interleaved in one process",
        manifest_digest=palette.manifest.digest,
        device=device,
        conditions=Conditions(
            threads=threads,
            date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            quiet=other_load < _QUIET_BELOW,
            other_load=round(other_load, 4),
        ),
        smallest=smallest,
        subnets=[_subnet(entry, memory[entry.name], latency) for entry in palette.manifest.subnets],
    )


def _check_positive(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise InputError(f"{name}: got {value}, expected 1 or more")


def _job(palette: Palette, lengths: tuple[int, ...], batch: int, threads: int, repeats: int) -> Job:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(palette.folder / palette.manifest.tokenizer.file))
    graphs = {entry.name: str(palette.graph_path(entry.name)) for entry in palette.manifest.subnets}
    return Job(
        task="latency",
        graphs=graphs,
        inputs=palette.manifest.inputs,
        lengths=list(lengths),
        batch=batch,
        threads=threads,
        vocabulary=min(_MOST_IDS, tokenizer.get_vocab_size()),
        rounds=repeats,
        budget_s=_BUDGET_S_A_POINT * len(graphs) * len(lengths),
    )


def _measure(job: Job, on_progress: Callable[[int, int], None]) -> tuple[dict[str, MemoryResult], LatencyResult, str]:
    """Memory by subnet, latencies, and the fastest subnet at the shortest length."""
    total = job.rounds + len(job.graphs)
    on_progress(0, total)
    latency = LatencyResult.model_validate_json(_run_worker(job, lambda done: on_progress(done, total)))
    smallest = min(job.graphs, key=lambda name: latency.latency[name][0].p50_ms)
    memory = {}
    for done, name in enumerate(job.graphs, start=job.rounds + 1):
        graphs = {one: job.graphs[one] for one in (name, smallest)}
        one = job.model_copy(update={"task": "memory", "graphs": graphs})
        memory[name] = MemoryResult.model_validate_json(_run_worker(one, lambda _: None))
        on_progress(done, total)
    return memory, latency, smallest


def _run_worker(job: Job, on_round: Callable[[int], None]) -> bytes:
    """Run ``job`` in a new process; its result as JSON."""
    command = [sys.executable, "-m", _WORKER]
    result = b""
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with suppress(BrokenPipeError), process.stdin as stdin:  # it died early: its exit status tells
                stdin.write(job.model_dump_json().encode())
            for result in process.stdout:
                if result.startswith(ROUND.encode()):
                    on_round(int(result[len(ROUND) :]))
        except BaseException:
            process.kill()
            raise
        if process.wait() != 0:
            what = next(iter(job.graphs)) if job.task == "memory" else "all subnets"
            raise EdgeDistillError(f"profiling {what} failed: {_reason(process.returncode, errors)}")
    return result


def _reason(returncode: int, errors: IO[bytes]) -> str:
    if returncode < 0:
        return f"its process was killed by signal {-returncode}; is there enough memory?"
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"its process ended with status {returncode}"


class _OtherLoad:
    """The share of all cores that processes other than ours used since this was made."""

    def __init__(self) -> None:
        self._wall_s, self._busy_s = time.perf_counter(), _busy_s()

    def since_start(self, our_cpu_s: float) -> float:
        available_s = (time.perf_counter() - self._wall_s) * (psutil.cpu_count() or 1)
        return min(1.0, max(0.0, (_busy_s() - self._busy_s - our_cpu_s) / available_s))


def _busy_s() -> float:
    times = psutil.cpu_times()
    # A guest's time is counted in its host's user time as well.
    idle = times.idle + times.iowait + times.guest + times.guest_nice
    return float(sum(times) - idle)


def _subnet(entry: SubnetEntry, memory: MemoryResult, latency: LatencyResult) -> SubnetProfile:
    return SubnetProfile(
        subnet=entry.name,
        precision=entry.precision,
        latency=latency.latency[entry.name],
        load_ms=round(memory.load_ms, 2),
        peak_mb=round(memory.peak_mb, 3),
        steady_mb=round(memory.steady_mb, 3),
        with_smallest_mb=round(memory.with_smallest_mb, 3),
    )
