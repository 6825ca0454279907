"""Which subnets make the family: the best at each cost, from the dearest to the cheapest that is allowed.

Those that no cheaper subnet equals make the front (with the next fronts, where it is too short for the family);
of it we take the dearest, the cheapest, and between them those nearest to costs spread evenly in ratio.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgedistill.architecture import Subnet

__all__ = ["Scored", "choose_family", "pareto_front"]


@dataclass(frozen=True, slots=True)
class Scored:
    """A subnet, what it costs (in whichever unit the search goes by) and its quality on validation data."""

    subnet: Subnet
    cost: float
    quality: float


def choose_family(scored: Sequence[Scored], count: int) -> list[Scored]:
    """At most ``count`` of those scored, the dearest first; the dearest and the cheapest are always among them."""
    ends = [max(scored, key=lambda s: (s.cost, s.quality)), min(scored, key=lambda s: (s.cost, -s.quality))]
    return _spread(_best_fronts(scored, count), list(dict.fromkeys(ends)), count)


def pareto_front(scored: Iterable[Scored]) -> list[Scored]:
    """Those better than everything that costs no more, from cheap to dear."""
    front: list[Scored] = []
    for candidate in sorted(scored, key=lambda s: (s.cost, -s.quality)):
        if not front or candidate.quality > front[-1].quality:
            front.append(candidate)
    return front


def _best_fronts(scored: Sequence[Scored], count: int) -> list[Scored]:
    """The front, and where it is shorter than ``count`` the fronts behind it."""
    found: list[Scored] = []
    rest = list(scored)
    while rest and len(found) < count:
        found += pareto_front(rest)
        rest = [s for s in scored if s not in found]
    return found


def _spread(front: Sequence[Scored], ends: Sequence[Scored], count: int) -> list[Scored]:
    """``count`` of the front, with both ends, nearest to costs evenly spread in ratio; the dearest first."""
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
