"""The family: Pareto front, both ends, costs spread evenly in ratio."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import minilm
import pytest

from edgedistill.architecture import Subnet
from edgedistill.subnet_search import Scored, choose_family, pareto_front

ARCH, SPACE = minilm.ARCH, minilm.SPACE


def _scored(cost: int, accuracy: float) -> Scored:
    return Scored(Subnet.uniform((0,), hidden=1, heads=1, ffn=cost), cost, accuracy)


def _space(quality: Callable[[Subnet], float]) -> list[Scored]:
    return [Scored(subnet, ARCH.layer_parameters(subnet), quality(subnet)) for subnet in SPACE]


def test_the_front_leaves_out_what_something_cheaper_equals() -> None:
    points = [_scored(8, 0.9), _scored(4, 0.9), _scored(2, 0.7), _scored(3, 0.6), _scored(4, 0.8)]
    assert [(s.cost, s.quality) for s in pareto_front(points)] == [(2, 0.7), (4, 0.9)]


@pytest.mark.parametrize("count", [2, 6, 8])
def test_the_family_has_both_ends_and_is_spread(count: int) -> None:
    family = choose_family(_space(minilm.share), count)
    assert len(family) == count
    assert family[0].subnet == SPACE.maxnet
    assert family[-1].subnet == SPACE.minnet
    ratios = [a.cost / b.cost for a, b in pairwise(family)]
    assert all(ratio > 1 for ratio in ratios)
    assert max(ratios) < 12 ** (1 / (count - 1)) * 1.6


def test_a_short_front_is_filled_from_those_behind_it() -> None:
    family = choose_family(_space(lambda s: 1 - minilm.share(s)), 6)
    assert len(family) == len({s.subnet for s in family}) == 6
    assert (family[0].subnet, family[-1].subnet) == (SPACE.maxnet, SPACE.minnet)


def test_of_equal_sizes_the_more_accurate_is_taken() -> None:
    deep = Subnet.uniform((0, 1, 2, 3, 4, 5), hidden=384, heads=6, ffn=768)
    family = choose_family(_space(lambda s: minilm.share(s) + (s == deep)), 8)
    assert deep in [s.subnet for s in family]


def test_more_than_the_space_holds_is_all_of_it() -> None:
    assert len(choose_family(_space(minilm.share), 99)) == len(SPACE)


def test_one_that_fits_is_a_family() -> None:
    assert choose_family([_scored(3, 0.5)], 8) == [_scored(3, 0.5)]
