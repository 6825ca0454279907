"""Define the messages between the profiler and its worker process.

The worker reads one `Job` on standard input. After each round of a latency job it writes `ROUND` and a number, and at
the end its result, each on a line of standard output. The last line of its standard error names a failure.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from edgedistill.palette import LatencyPoint, TensorSpec

__all__ = ["ROUND", "Job", "LatencyResult", "MemoryResult"]

ROUND = "round "


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Job(_Message):
    """Describe a measurement.

    ``graphs``: paths by subnet; for memory, the subnet and then the smallest, once if they are the same. ``weights``:
    the weights file of the first. ``shapes``: batch and tokens of each run. ``vocabulary``: ids are below it. A latency
    job ends when the 95 % intervals of nine medians in ten are within ``width`` (a share of the median), or after
    ``rounds`` rounds, or after ``budget_s`` seconds.
    """

    task: Literal["memory", "latency"]
    graphs: Annotated[dict[str, str], Field(min_length=1)]
    weights: str
    inputs: list[TensorSpec]
    shapes: list[tuple[int, int]]
    threads: int
    vocabulary: int
    width: float
    rounds: int
    budget_s: float


class MemoryResult(_Message):
    """Hold what one subnet took in a fresh process; memory in 10⁶ bytes above ``baseline_mb``, before its session.

    ``cold_load_ms``: the first load, with its files out of the page cache. ``load_ms``: the median of later loads, next
    to the smallest subnet. ``with_smallest_mb``: the peak of those.
    """

    baseline_mb: float
    cold_load_ms: float
    load_ms: float
    peak_mb: float
    steady_mb: float
    with_smallest_mb: float
    cpu_s: float


class LatencyResult(_Message):
    """Hold the latency points of each subnet, from runs at full speed.

    ``kept_pace``: the full-speed share of all runs. ``cpu_s``: the CPU time of the worker.
    """

    latency: dict[str, list[LatencyPoint]]
    kept_pace: float
    cpu_s: float
