"""Measure for the profiler in a process of its own: ``python -m edgedistill.device_profiles.worker``.

So the memory and work of the caller's process stay out of the figures. See `job` for the messages.
"""

from __future__ import annotations

import ctypes
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import comb
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from edgedistill.device_profiles.cost_model import to_nanoseconds
from edgedistill.device_profiles.job import ROUND, Job, LatencyResult, MemoryResult
from edgedistill.device_profiles.timed_runs import TimedRuns, Yardstick
from edgedistill.errors import EdgeDistillError
from edgedistill.palette import LatencyPoint
from edgedistill.runtime.engine.kv_cache import Cache, heads_of
from edgedistill.runtime.engine.step_runner import StepRunner
from edgedistill.runtime.engine.switches import give_back_memory
from edgedistill.runtime.onnx import create_session, import_onnxruntime, is_decoder

__all__ = ["main", "median_interval"]

_MIN_ROUNDS = 20
_WARM_UP = 2
_PRECISE_SHARE = 0.9  # of the points must have a narrow interval
_WARM_LOADS = 3
_PR_SET_PDEATHSIG = 1  # of linux/prctl.h
_ASLEEP_S = 0.005  # after a run, until a decoder's threads sleep
_CACHED_TOKENS = 64  # in the cache when a single token is measured
_Run = Callable[[], object]
_Shape = tuple[int, int]
_Key = tuple[str, _Shape]
_Feeds = dict[_Shape, dict[str, Any]]


def main() -> int:
    """Run the job on standard input; return exit status 1 if it failed."""
    _end_with_parent()
    job = Job.model_validate_json(sys.stdin.buffer.read())
    try:
        result = _memory(job) if job.task == "memory" else _latency(job)
    except EdgeDistillError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    _say(result.model_dump_json())
    return 0


def _end_with_parent() -> None:
    """Let the kernel kill this process with the profiler: a graph that loops would run for ever."""
    parent = os.getppid()
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was killed before
        sys.exit(1)


def _say(line: str) -> None:
    sys.stdout.buffer.write(f"{line}\n".encode())
    sys.stdout.buffer.flush()


def _memory(job: Job) -> MemoryResult:
    import_onnxruntime()  # its own memory belongs to the baseline
    graph, *smallest = job.graphs.values()
    feeds = _feeds(job)
    _uncache(graph, job.weights)
    _forget_peak()
    baseline_mb = _resident_mb("VmRSS")
    session, cold_load_ms = _loaded(graph, job)
    _run_all(session, feeds)
    steady_mb, peak_mb = _resident_mb("VmRSS"), _peak_mb()
    del session
    give_back_memory()
    loads_ms, with_smallest_mb = _next_to_smallest(graph, smallest, job, feeds)
    return MemoryResult(
        baseline_mb=baseline_mb,
        cold_load_ms=cold_load_ms,
        load_ms=median(loads_ms),
        peak_mb=max(0.0, peak_mb - baseline_mb),
        steady_mb=max(0.0, steady_mb - baseline_mb),
        with_smallest_mb=max(0.0, with_smallest_mb - baseline_mb),
        cpu_s=time.process_time(),
    )


def _next_to_smallest(graph: str, smallest: list[str], job: Job, feeds: _Feeds) -> tuple[list[float], float]:
    """Return the milliseconds of loads while the smallest is open, and the peak of both, which varies by load."""
    resident = [_loaded(path, job)[0] for path in smallest]
    for session in resident:
        _run_all(session, feeds)
    _forget_peak()
    loads_ms = []
    for _ in range(_WARM_LOADS):
        session, load_ms = _loaded(graph, job)
        _run_all(session, feeds)
        loads_ms.append(load_ms)
        del session
        give_back_memory()
    return loads_ms, _peak_mb()


def _loaded(graph: str, job: Job) -> tuple[Any, float]:
    """Return a session, and the milliseconds that its load took."""
    begin = time.perf_counter()
    session = _session(graph, job)
    return session, (time.perf_counter() - begin) * 1e3


def _session(graph: str, job: Job) -> Any:
    return create_session(Path(graph), job.threads, decoder=is_decoder(job.inputs))


def _run_all(session: Any, feeds: _Feeds) -> None:
    for run in _runs(session, feeds).values():
        run()


def _runs(session: Any, feeds: _Feeds) -> dict[_Shape, _Run]:
    """Return a function per shape that runs a request, or for a decoder a prompt or the next token."""
    if is_decoder(session.get_inputs()):
        return {shape: _generating(session, feed["input_ids"][0].tolist()) for shape, feed in feeds.items()}
    return {shape: partial(session.run, None, feed) for shape, feed in feeds.items()}


def _generating(session: Any, ids: list[int]) -> _Run:
    before = _CACHED_TOKENS if len(ids) == 1 else 0
    steps = StepRunner(session, Cache(heads_of(session.get_inputs()), before + len(ids)))

    def run() -> None:
        steps.cache.tokens = before
        steps.run(ids)

    return run


def _uncache(*paths: str) -> None:
    """Drop files from the page cache, as far as nobody has them mapped."""
    for path in paths:
        with suppress(OSError):
            file = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(file)


def _forget_peak() -> None:
    """Reset VmHWM; without permission it may include a little of the imports' own peak."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_mb() -> float:
    # The kernel's two counters differ by some pages: a peak is never below what is resident now.
    return max(_resident_mb("VmHWM"), _resident_mb("VmRSS"))


def _resident_mb(field: str) -> float:
    # Not ru_maxrss: Linux hands the parent's peak on to a child's.
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise EdgeDistillError(f"/proc/self/status has no {field}: memory cannot be measured on this system")


def _latency(job: Job) -> LatencyResult:
    sessions = {name: _session(graph, job) for name, graph in job.graphs.items()}
    feeds = _feeds(job)
    runs = {(name, shape): run for name, session in sessions.items() for shape, run in _runs(session, feeds).items()}
    timed = _interleaved(job, runs)
    return LatencyResult(
        latency={
            name: [_point(job.threads, shape, timed.counted((name, shape))) for shape in job.shapes]
            for name in sessions
        },
        kept_pace=timed.full_speed_share,
        cpu_s=time.process_time(),
    )


def _interleaved(job: Job, runs: dict[_Key, _Run]) -> TimedRuns[_Key]:
    """Time runs by (subnet, shape), in another order each round, so that drift affects all equally.

    A decoder's threads spin for its next token, and would take the cores from another's: so each run waits for sleep.
    """
    wait_s = _ASLEEP_S if is_decoder(job.inputs) and job.threads > 1 else 0.0
    points = list(runs)
    for point in points * _WARM_UP:
        runs[point]()
    timed, yardstick = TimedRuns(points), Yardstick()
    rng = random.Random(0)
    deadline = time.perf_counter() + job.budget_s
    before_us = yardstick.look_us()
    for done in range(1, job.rounds + 1):
        for point in rng.sample(points, len(points)):
            if wait_s:
                time.sleep(wait_s)
            begin = time.perf_counter()
            runs[point]()
            ms = (time.perf_counter() - begin) * 1e3
            after_us = yardstick.look_us()
            timed.add(point, ms, max(before_us, after_us))
            before_us = after_us
        _say(f"{ROUND}{done}")
        if done < _MIN_ROUNDS:
            continue
        timed.judge()
        precise = sum(_width(timed.counted(point)) <= job.width for point in points)
        if precise >= _PRECISE_SHARE * len(points) or time.perf_counter() > deadline:
            break
    return timed


def median_interval(values: list[float]) -> tuple[float, float]:
    """Return the 95 % confidence interval of the median; the extremes if there are few values."""
    ordered, count = sorted(values), len(values)
    # The number of values below the median is binomial with p = 1/2.
    below, place = 0.5**count, 0
    while (below := below + comb(count, place + 1) * 0.5**count) <= 0.025:
        place += 1
    return ordered[place], ordered[-1 - place]


def _width(times: list[float]) -> float:
    """Return half of the interval, as a share of the median."""
    low, high = median_interval(times)
    return (high - low) / 2 / median(times)


def _point(threads: int, shape: _Shape, times: list[float]) -> LatencyPoint:
    p50, p95, p99 = np.percentile(times, (50, 95, 99))
    low, high = median_interval(times)
    figures = to_nanoseconds({"p50_ms": p50, "low_ms": low, "high_ms": high, "p95_ms": p95, "p99_ms": p99})
    return LatencyPoint(threads=threads, batch=shape[0], tokens=shape[1], samples=len(times), **figures)


def _feeds(job: Job) -> _Feeds:
    """Return the inputs of each shape, int64 [batch, tokens]."""
    return {shape: _feed(job, shape) for shape in job.shapes}


def _feed(job: Job, shape: _Shape) -> dict[str, Any]:
    """Return random ids, all attended to, in one segment."""
    ids = np.random.default_rng(0).integers(0, job.vocabulary, shape, dtype=np.int64)
    constant = {"attention_mask": np.ones(shape, np.int64), "token_type_ids": np.zeros(shape, np.int64)}
    return {spec.name: constant.get(spec.name, ids) for spec in job.inputs}


if __name__ == "__main__":
    sys.exit(main())
