"""A process of its own for the profiler: ``python -m edgedistill.device_profiles.worker``.

What is measured here is not mixed with what the caller's process holds or does. See `job` for what goes in and out.
"""

from __future__ import annotations

import random
import sys
import time
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from edgedistill.device_profiles.job import ROUND, Job, LatencyResult, MemoryResult
from edgedistill.errors import EdgeDistillError
from edgedistill.manifest import LatencyPoint
from edgedistill.runtime.onnx import create_session, import_onnxruntime

__all__ = ["main"]

_LEAST_ROUNDS = 10
_WARM_UP = 2
_Feeds = dict[str, Any]


def main() -> int:
    """Do the job on standard input; the exit status is 1 where it failed."""
    job = Job.model_validate_json(sys.stdin.buffer.read())
    try:
        result = _memory(job) if job.task == "memory" else _latency(job)
    except EdgeDistillError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    _say(result.model_dump_json())
    return 0


def _say(line: str) -> None:
    sys.stdout.buffer.write(f"{line}\n".encode())
    sys.stdout.buffer.flush()


def _memory(job: Job) -> MemoryResult:
    import_onnxruntime()  # its own memory belongs to the baseline
    graph, *smallest = job.graphs.values()
    feeds = [_feeds(job, tokens) for tokens in job.lengths]
    _forget_peak()
    baseline_mb = _resident_mb("VmRSS")
    session, load_ms = _loaded(graph, job, feeds)
    steady_mb, peak_mb = _resident_mb("VmRSS"), _peak_mb()
    beside = [_loaded(one, job, feeds) for one in smallest]
    with_smallest_mb = _peak_mb()
    del session, beside  # both were in memory up to here
    return MemoryResult(
        load_ms=load_ms,
        peak_mb=max(0.0, peak_mb - baseline_mb),
        steady_mb=max(0.0, steady_mb - baseline_mb),
        with_smallest_mb=max(0.0, with_smallest_mb - baseline_mb),
        cpu_s=time.process_time(),
    )


def _loaded(graph: str, job: Job, feeds: list[_Feeds]) -> tuple[Any, float]:
    """A session that has run at every length, and the milliseconds that it took to load."""
    begin = time.perf_counter()
    session = create_session(Path(graph), job.threads)
    load_ms = (time.perf_counter() - begin) * 1e3
    for feed in feeds:
        session.run(None, feed)
    return session, load_ms


def _forget_peak() -> None:
    """Start VmHWM anew; where that is not permitted, it may hold a little of the imports' own peak."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_mb() -> float:
    # The kernel's two counters lag apart by some pages: a peak is never below what is resident now.
    return max(_resident_mb("VmHWM"), _resident_mb("VmRSS"))


def _resident_mb(field: str) -> float:
    # Not ru_maxrss: Linux hands the parent's peak on to a child's.
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise EdgeDistillError(f"/proc/self/status has no {field}: memory cannot be measured on this system")


def _latency(job: Job) -> LatencyResult:
    sessions = {name: create_session(Path(graph), job.threads) for name, graph in job.graphs.items()}
    feeds = {tokens: _feeds(job, tokens) for tokens in job.lengths}
    times = _interleaved(job, sessions, feeds)
    return LatencyResult(
        latency={name: [_point(job.batch, n, times[name, n]) for n in job.lengths] for name in sessions},
        cpu_s=time.process_time(),
    )


def _interleaved(job: Job, sessions: dict[str, Any], feeds: dict[int, _Feeds]) -> dict[tuple[str, int], list[float]]:
    """Milliseconds by (subnet, tokens). Every round takes all points in another order, so that drift hits all alike."""
    points = list(product(sessions, feeds))
    for name, tokens in points * _WARM_UP:
        sessions[name].run(None, feeds[tokens])
    times: dict[tuple[str, int], list[float]] = {point: [] for point in points}
    rng = random.Random(0)
    deadline = time.perf_counter() + job.budget_s
    for done in range(1, job.rounds + 1):
        for name, tokens in rng.sample(points, len(points)):
            begin = time.perf_counter()
            sessions[name].run(None, feeds[tokens])
            times[name, tokens].append((time.perf_counter() - begin) * 1e3)
        _say(f"{ROUND}{done}")
        if done >= _LEAST_ROUNDS and time.perf_counter() > deadline:
            break
    return times


def _point(batch: int, tokens: int, times: list[float]) -> LatencyPoint:
    p50, p95, p99 = (round(float(ms), 4) for ms in np.percentile(times, (50, 95, 99)))
    return LatencyPoint(batch=batch, tokens=tokens, p50_ms=p50, p95_ms=p95, p99_ms=p99, samples=len(times))


def _feeds(job: Job, tokens: int) -> _Feeds:
    """Inputs [batch, tokens], int64: random ids, all of them attended to, in one segment."""
    shape = (job.batch, tokens)
    ids = np.random.default_rng(0).integers(0, job.vocabulary, shape, dtype=np.int64)
    known = {"attention_mask": np.ones(shape, np.int64), "token_type_ids": np.zeros(shape, np.int64)}
    return {spec.name: known.get(spec.name, ids) for spec in job.inputs}


if __name__ == "__main__":
    sys.exit(main())
