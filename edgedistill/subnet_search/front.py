"""Choose the family from the Pareto front: the best subnets at each cost, from expensive to cheap.

The front holds the subnets that no cheaper one equals; if it is too short for the family, the next fronts follow. The
family is the most expensive one, the cheapest, and between them those closest to costs evenly spaced in ratio.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgedistill.architecture import Subnet

__all__ = ["Scored", "choose_family", "pareto_front"]


@dataclass(frozen=True, slots=True)
class Scored:
    """Hold a subnet, its cost by the search's metric, and its quality on validation data."""

    subnet: Subnet
    cost: float
    quality: float


def choose_family(scored: Sequence[Scored], count: int) -> list[Scored]:
    """Choose at most ``count``, from expensive to cheap, always including the two extremes."""
    ends = [max(scored, key=lambda s: (s.cost, s.quality)), min(scored, key=lambda s: (s.cost, -s.quality))]
    return _spread(_best_fronts(scored, count), list(dict.fromkeys(ends)), count)


def pareto_front(scored: Iterable[Scored]) -> list[Scored]:
    """Return those better than everything that costs no more, from cheap to expensive."""
    front: list[Scored] = []
    for candidate in sorted(scored, key=lambda s: (s.cost, -s.quality)):
        if not front or candidate.quality > front[-1].quality:
            front.append(candidate)
    return front


def _best_fronts(scored: Sequence[Scored], count: int) -> list[Scored]:
    """Return the front, followed by the next fronts if it is shorter than ``count``."""
    best: list[Scored] = []
    rest = list(scored)
    while rest and len(best) < count:
        best += pareto_front(rest)
        rest = [s for s in scored if s not in best]
    return best


def _spread(front: Sequence[Scored], ends: Sequence[Scored], count: int) -> list[Scored]:
    """Return ``count`` of the front, with both ends, closest to costs evenly spaced in ratio, expensive first."""
    high, low = math.log(max(e.cost for e in ends)), math.log(min(e.cost for e in ends))
    chosen = list(ends)[:count]
    rest = [s for s in front if s not in chosen]
    for place in range(1, count - 1):
        if not rest:
            break
        target = high + (low - high) * place / (count - 1)
        nearest = min(rest, key=lambda s: abs(math.log(s.cost) - target))
        rest.remove(nearest)
        chosen.append(nearest)
    return sorted(chosen, key=lambda s: -s.cost)
