"""What the profiler and its worker process say to each other.

The worker reads one `Job` on standard input. It writes `ROUND` and a number after each round of a latency job,
and at last its result, each on a line of standard output. What went wrong is the last line of its standard error.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from edgedistill.manifest import LatencyPoint, TensorSpec

__all__ = ["ROUND", "Job", "LatencyResult", "MemoryResult"]

ROUND = "round "


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Job(_Message):
    """What to measure.

    ``graphs``: paths by subnet; for memory, the subnet, and after it the smallest, once where these are the same.
    ``weights``: the file of the first one's weights. ``shapes``: batch and tokens of what is asked. ``vocabulary``: ids
    are below it. A latency job ends when nine medians of ten are known to ``width`` of themselves with 95 % confidence,
    or after ``rounds`` rounds, or after ``budget_s`` seconds.
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
    """One subnet in a fresh process; memory in 10⁶ bytes, above ``baseline_mb``, which there was before its session.

    ``cold_load_ms``: the first load, its files not in the page cache; ``load_ms``: the median of later ones, beside the
    smallest. ``with_smallest_mb``: the peak of these.
    """

    baseline_mb: float
    cold_load_ms: float
    load_ms: float
    peak_mb: float
    steady_mb: float
    with_smallest_mb: float
    cpu_s: float


class LatencyResult(_Message):
    """All subnets' points, by subnet, of runs at the processor's best pace.

    ``kept_pace``: which share of all runs that is. ``cpu_s``: CPU time that the worker used in all.
    """

    latency: dict[str, list[LatencyPoint]]
    kept_pace: float
    cpu_s: float
