"""The family: Pareto front, both ends, sizes spread evenly in ratio."""

from __future__ import annotations

from itertools import pairwise

import pytest

from edgedistill.search import Scored, choose_family, pareto_front
from edgedistill.subnet import Architecture, SearchSpace, SubnetConfig

ARCH = Architecture(
    model_type="bert",
    layers=6,
    hidden=384,
    heads=12,
    head_size=32,
    ffn=1536,
    vocabulary=30522,
    positions=512,
    token_types=2,
    outputs=2,
)
SPACE = SearchSpace(((0, 1, 2, 3, 4, 5), (0, 2, 3, 5), (0, 5)), (384,), (12, 6, 3), (1536, 768, 384))


def _scored(cost: int, accuracy: float) -> Scored:
    return Scored(SubnetConfig.uniform((0,), hidden=1, heads=1, ffn=cost), cost, accuracy)


def test_the_front_leaves_out_what_something_cheaper_equals() -> None:
    points = [_scored(8, 0.9), _scored(4, 0.9), _scored(2, 0.7), _scored(3, 0.6), _scored(4, 0.8)]
    assert [(s.cost, s.quality) for s in pareto_front(points)] == [(2, 0.7), (4, 0.9)]


def _by_size(subnet: SubnetConfig) -> float:
    return ARCH.layer_parameters(subnet) / ARCH.layer_parameters(SPACE.maxnet)


@pytest.mark.parametrize("count", [2, 6, 8])
def test_the_family_has_both_ends_and_is_spread(count: int) -> None:
    family = choose_family(SPACE, ARCH, _by_size, count)
    assert len(family) == count
    assert family[0].subnet == SPACE.maxnet
    assert family[-1].subnet == SPACE.minnet
    ratios = [a.cost / b.cost for a, b in pairwise(family)]
    assert all(ratio > 1 for ratio in ratios)
    assert max(ratios) < 12 ** (1 / (count - 1)) * 1.6


def test_a_short_front_is_filled_from_those_behind_it() -> None:
    family = choose_family(SPACE, ARCH, lambda s: 1 - _by_size(s), 6)
    assert len(family) == len({s.subnet for s in family}) == 6
    assert (family[0].subnet, family[-1].subnet) == (SPACE.maxnet, SPACE.minnet)


def test_of_equal_sizes_the_more_accurate_is_taken() -> None:
    deep = SubnetConfig.uniform((0, 1, 2, 3, 4, 5), hidden=384, heads=6, ffn=768)
    family = choose_family(SPACE, ARCH, lambda s: _by_size(s) + (s == deep), 8)
    assert deep in [s.subnet for s in family]


def test_more_than_the_space_holds_is_all_of_it() -> None:
    assert len(choose_family(SPACE, ARCH, _by_size, 99)) == len(SPACE)
