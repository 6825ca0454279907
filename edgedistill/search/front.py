"""Which subnets make the family: the best of each size, from the largest to the smallest.

Every subnet of the space is scored on validation data. Those that no smaller subnet equals make the front
(with the next fronts, where it is too short for the family); of it we take the largest, the smallest, and
between them those nearest to sizes spread evenly in ratio.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from edgedistill.subnet import Architecture, SearchSpace, SubnetConfig

__all__ = ["Scored", "choose_family", "pareto_front", "spread"]


@dataclass(frozen=True, slots=True)
class Scored:
    """A subnet, what it costs (entries of its layers' matrices) and its quality on validation data."""

    subnet: SubnetConfig
    cost: int
    quality: float


def choose_family(
    space: SearchSpace, arch: Architecture, quality: Callable[[SubnetConfig], float], count: int
) -> list[Scored]:
    """At most ``count`` subnets, largest first; the maxnet and the minnet are always among them."""
    scored = [Scored(subnet, arch.layer_parameters(subnet), quality(subnet)) for subnet in space]
    ends = [s for s in scored if s.subnet in {space.maxnet, space.minnet}]
    return spread(_best_fronts(scored, count), ends, count)


def pareto_front(scored: Iterable[Scored]) -> list[Scored]:
    """Those better than everything that costs no more, from cheap to dear."""
    front: list[Scored] = []
    for candidate in sorted(scored, key=lambda s: (s.cost, -s.quality)):
        if not front or candidate.quality > front[-1].quality:
            front.append(candidate)
    return front


def _best_fronts(scored: list[Scored], count: int) -> list[Scored]:
    """The front, and where it is shorter than ``count`` the fronts behind it."""
    found: list[Scored] = []
    rest = scored
    while rest and len(found) < count:
        found += pareto_front(rest)
        rest = [s for s in scored if s not in found]
    return found


def spread(front: Sequence[Scored], ends: Sequence[Scored], count: int) -> list[Scored]:
    """``count`` of the front, with both ends, nearest to sizes evenly spread in ratio; largest first."""
    high, low = math.log(max(e.cost for e in ends)), math.log(min(e.cost for e in ends))
    chosen = list(dict.fromkeys(ends))
    rest = [s for s in front if s not in chosen]
    for place in range(1, count - 1):
        if not rest:
            break
        target = high + (low - high) * place / (count - 1)
        nearest = min(rest, key=lambda s: abs(math.log(s.cost) - target))
        rest.remove(nearest)
        chosen.append(nearest)
    return sorted(chosen, key=lambda s: -s.cost)
