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
    """What to measure. ``graphs``: paths by subnet. ``vocabulary``: ids are below it.

    For memory: the subnet, and after it the smallest, once where these are the same.

    ``rounds`` and ``budget_s`` bound a latency job: it ends at the first that is reached.
    """

    task: Literal["memory", "latency"]
    graphs: Annotated[dict[str, str], Field(min_length=1)]
    inputs: list[TensorSpec]
    lengths: list[int]
    batch: int
    threads: int
    vocabulary: int
    rounds: int
    budget_s: float


class MemoryResult(_Message):
    """One subnet in a fresh process; memory above that before the session was created, in 10⁶ bytes.

    ``with_smallest_mb``: the peak with the smallest beside it.
    """

    load_ms: float
    peak_mb: float
    steady_mb: float
    with_smallest_mb: float
    cpu_s: float


class LatencyResult(_Message):
    """All subnets' points, by subnet. ``cpu_s``: CPU time that the worker used in all."""

    latency: dict[str, list[LatencyPoint]]
    cpu_s: float
