"""Architectures: names, spaces, costs."""

from __future__ import annotations

import dataclasses
import random

import pytest

from edgedistill.architecture import LayerShape, SearchSpace, Subnet

SPACE = SearchSpace(((0, 1, 2, 3), (0, 3)), (24, 12), (3, 1), (40, 20, 10))


def test_a_space_is_every_combination() -> None:
    subnets = list(SPACE)
    assert len(subnets) == len(set(subnets)) == len(SPACE) == 24
    assert subnets[0] == SPACE.maxnet
    assert subnets[-1] == SPACE.minnet
    assert len({subnet.name for subnet in subnets}) == 24


def test_sampling_reaches_every_subnet_and_stays_in_the_space() -> None:
    rng = random.Random(0)
    assert {SPACE.sample(rng) for _ in range(500)} == set(SPACE)


@pytest.mark.parametrize("axis", ["layers", "hidden", "heads", "ffn"])
def test_a_space_without_a_choice_on_an_axis_is_refused(axis: str) -> None:
    with pytest.raises(ValueError, match="at least one choice on each axis"):
        dataclasses.replace(SPACE, **{axis: ()})


def test_stage_one_keeps_full_depth() -> None:
    assert {subnet.kept for subnet in SPACE.at_full_depth()} == {(0, 1, 2, 3)}


def test_names_tell_subnets_apart() -> None:
    uniform = Subnet.uniform((0, 2), hidden=24, heads=2, ffn=10)
    unequal = Subnet((LayerShape(0, 2, 10), LayerShape(2, 1, 10)), 24)
    other = Subnet((LayerShape(0, 1, 10), LayerShape(2, 2, 10)), 24)
    assert uniform.name == "l2-d24-h2-f10"
    assert len({uniform.name, unequal.name, other.name}) == 3
