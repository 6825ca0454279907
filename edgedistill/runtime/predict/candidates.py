"""Hold the figures of candidate subnets, and what follows from them alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgedistill.runtime.predict.slowdown import Estimate

__all__ = ["Beside", "Candidate", "predicted_p95_ms", "smallest", "together_mb"]


@dataclass(frozen=True, slots=True)
class Beside:
    """Hold the memory that a subnet adds to ``subnet``, in 10⁶ bytes: less than alone, since weights are shared."""

    subnet: str
    memory_mb: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """Hold a subnet's figures: memory in 10⁶ bytes, latency on a quiet machine at the present length, None if unknown.

    ``first_token_ms``: for generation, the median prefill time of a prompt of the present length.
    """

    name: str
    quality: float
    memory_mb: float
    p50_ms: float | None
    p95_ms: float | None
    beside: Beside | None = None
    first_token_ms: float | None = None


def predicted_p95_ms(
    candidate: Candidate, other_load: float | None, slowdown: Estimate | None, confidence: float
) -> float | None:
    """Return the candidate's 95th percentile in the present contention; None without figures.

    Before there are requests that show the contention, fair scheduling is assumed: others leave at least half.
    """
    if not candidate.p50_ms:
        return candidate.p50_ms
    p95_ms = candidate.p50_ms if candidate.p95_ms is None else candidate.p95_ms
    if slowdown is None:
        return p95_ms / max(1 - (other_load or 0.0), 0.5)
    usual_ms = candidate.p50_ms * slowdown.at(confidence)
    return usual_ms * (p95_ms / candidate.p50_ms if slowdown.tail is None else slowdown.tail)


def smallest(candidates: Sequence[Candidate]) -> Candidate:
    """Return the fallback of the family: the fastest, of equals the one with the least memory."""
    return min(candidates, key=lambda c: (c.p50_ms or 0.0, c.memory_mb))


def together_mb(candidates: Sequence[Candidate]) -> float:
    """Return the memory that they take in one process, in 10⁶ bytes; `Beside` counts shared weights once."""
    present = {candidate.name for candidate in candidates}
    shared = (c.beside.memory_mb if c.beside and c.beside.subnet in present else c.memory_mb for c in candidates)
    return float(sum(shared))
