"""The figures of the subnets that may serve, and what follows from them alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgedistill.runtime.predict.slowdown import Estimate

__all__ = ["Beside", "Candidate", "predicted_p95_ms", "smallest", "together_mb"]


@dataclass(frozen=True, slots=True)
class Beside:
    """The memory that a subnet takes on top of ``subnet``, in 10⁶ bytes: less than alone, since weights are shared."""

    subnet: str
    memory_mb: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A subnet's figures: memory in 10⁶ bytes, latency on a quiet machine at the length in use, None if unknown.

    ``first_token_ms``: where it generates, the median of reading a prompt of the length in use.
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
    """The candidate's 95th percentile in the present contention; None when it has no figures.

    Before there are requests to see the contention on, fair scheduling tells: others leave us at least half.
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
    """Return the memory that they take in one process, in 10⁶ bytes; weights count once where `Beside` says so."""
    present = {candidate.name for candidate in candidates}
    shared = (c.beside.memory_mb if c.beside and c.beside.subnet in present else c.memory_mb for c in candidates)
    return float(sum(shared))
