"""Where a space is too large, a sampler finds nearly its front from few scores."""

from __future__ import annotations

import random
from collections.abc import Callable

import minilm
import pytest

from edgedistill.architecture import SearchSpace, Subnet
from edgedistill.subnet_search import Cost, Scored, SearchLimits, Terms, explore, pareto_front, search

LARGE = SearchSpace(
    tuple(tuple(range(depth)) for depth in range(6, 0, -1)),
    (384, 288, 192, 96),
    tuple(range(12, 0, -1)),
    tuple(range(1536, 0, -192)),
)
TERMS = Terms(minilm.ARCH, 64, "parameters", SearchLimits(), None)
MOST = 150


class Device:
    """A millisecond for each layer."""

    source = "measured in a test"

    def predict(self, subnet: Subnet) -> Cost:
        return Cost(float(len(subnet.layers)), 10.0)


def quality(subnet: Subnet) -> float:
    """Depth and hidden width count for more than heads, those for more than neurons; and some noise."""
    first = subnet.layers[0]
    shares = len(subnet.layers) / 6, subnet.hidden / 384, first.heads / 12, first.ffn / 1536
    loss = sum(weight * (1 - share) ** 2 for weight, share in zip((0.3, 0.3, 0.1, 0.05), shares, strict=True))
    return 1 - loss + random.Random(repr(subnet)).gauss(0, 0.005)


def area(found: dict[Subnet, float]) -> float:
    """Below the front, over the share of the parameters: 1 for a family that is perfect at any size."""
    whole = minilm.ARCH.layer_parameters(LARGE.maxnet)
    front = pareto_front(Scored(s, minilm.ARCH.layer_parameters(s) / whole, q) for s, q in found.items())
    edges = [*(point.cost for point in front), 1.0]
    return sum(point.quality * (after - before) for point, before, after in zip(front, edges, edges[1:], strict=False))


def test_a_space_that_is_small_enough_is_scored_whole() -> None:
    asked: list[Subnet] = []

    def score(subnet: Subnet) -> float:
        asked.append(subnet)
        return 0.5

    found = explore(minilm.SPACE, TERMS, score, len(minilm.SPACE))
    assert asked == list(found) == list(minilm.SPACE)


@pytest.mark.slow
def test_few_scores_find_nearly_the_front_of_a_large_space() -> None:
    found = explore(LARGE, TERMS, quality, MOST)
    assert len(found) == MOST < len(LARGE) / 15
    best, drawn = area({s: quality(s) for s in LARGE}), _drawn(quality)
    assert area(found) > 0.98 * best
    assert best - area(found) < 0.5 * (best - area(drawn))
    assert found == explore(LARGE, TERMS, quality, MOST)


def _drawn(score: Callable[[Subnet], float]) -> dict[Subnet, float]:
    rng = random.Random(0)
    chosen = {LARGE.maxnet, LARGE.minnet}
    while len(chosen) < MOST:
        chosen.add(LARGE.sample(rng))
    return {subnet: score(subnet) for subnet in chosen}


@pytest.mark.slow
@pytest.mark.parametrize("most_ms", [1.0, 3.0])
def test_only_what_keeps_to_the_limits_is_scored_beside_the_ends(most_ms: float) -> None:
    terms = Terms(minilm.ARCH, 64, "latency", SearchLimits(max_latency_ms=most_ms), Device())
    found = explore(LARGE, terms, quality, MOST)
    assert all(len(subnet.layers) <= most_ms for subnet in found if subnet != LARGE.maxnet)
    best = max(quality(subnet) for subnet in LARGE if len(subnet.layers) <= most_ms)
    assert max(score for subnet, score in found.items() if subnet != LARGE.maxnet) > best - 0.01
    assert all(len(member.subnet.layers) <= most_ms for member in search(found, terms, 4).family)
