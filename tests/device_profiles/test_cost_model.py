"""A pass's cost by its work: exact where that is what it costs, with an error where it is not."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import minilm
import numpy as np
import pytest
import tiny_palette

from edgedistill.architecture import Subnet
from edgedistill.device_profiles.cost_model import CostModel, MeasuredLatency, PassWork, choose_spanning, fit_line
from edgedistill.palette import Layer, load

ARCH = minilm.ARCH
COSTS = np.array([0.05, 0.01, 0.02, 0.03, 0.001, 0.04, 0.002, 0.1])
SHAPES = [(1, 16), (1, 128)]


def _work(subnet: Subnet) -> PassWork:
    return PassWork.of(subnet, ARCH.layer_parameters(subnet), ARCH.attention_macs(subnet, tokens=1))


WORKS = [_work(subnet) for subnet in minilm.SPACE]


def _measured(works: list[PassWork], noise: float = 0.0) -> list[MeasuredLatency]:
    rng = np.random.default_rng(0)
    return [
        MeasuredLatency(work, *shape, float(COSTS @ work.features(*shape)) * float(np.exp(noise * rng.normal())))
        for work, shape in product(works, SHAPES)
    ]


def test_the_work_of_an_entry_is_the_architectures(tmp_path: object) -> None:
    work = _work(ARCH.full)
    assert work.macs(64) == pytest.approx(ARCH.macs(ARCH.full, tokens=64), rel=0.01)
    assert (work.layers, work.heads, work.ffn) == (6, 72, 6 * 1536)


@pytest.mark.parametrize("stated", [True, False])
def test_an_entrys_work_is_the_architectures_whether_or_not_it_states_attention(
    tmp_path: Path, *, stated: bool
) -> None:
    """Without a pooler, whose d² an older entry's attention includes."""
    subnet = ARCH.full
    entry = (
        load(tiny_palette.write(tmp_path / "palette"))
        .manifest.subnets[0]
        .model_copy(
            update={
                "layers": [Layer(index=la.index, heads=la.heads, ffn=la.ffn) for la in subnet.layers],
                "hidden": subnet.hidden,
                "layer_parameters": ARCH.layer_parameters(subnet),
                "macs": replace(ARCH, dense=None).macs(subnet, tokens=64),
                "attention_macs": ARCH.attention_macs(subnet, tokens=64) if stated else None,
            }
        )
    )
    assert PassWork.of_entry(entry, ARCH.output_width) == _work(subnet)


def test_others_are_predicted_from_five() -> None:
    model = CostModel.fit(_measured([WORKS[one] for one in choose_spanning(WORKS, SHAPES, 5)]))
    for work, shape in product(WORKS, [(1, 16), (1, 32), (1, 64), (1, 128), (8, 64)]):
        assert model.ms(work, *shape) == pytest.approx(float(COSTS @ work.features(*shape)), rel=0.05)


@pytest.mark.parametrize("noise", [0.02, 0.08])
def test_the_error_grows_with_what_the_model_does_not_explain(noise: float) -> None:
    chosen = [WORKS[one] for one in choose_spanning(WORKS, SHAPES, 5)]
    model = CostModel.fit(_measured(chosen, noise))
    assert (model.costs >= 0).all()
    assert noise / 2 < model.error < 6 * noise
    assert CostModel.fit(_measured(chosen)).error < model.error


def test_the_largest_and_the_smallest_are_measured_and_no_more_than_asked_for() -> None:
    chosen = choose_spanning(WORKS, SHAPES, 5)
    assert len(set(chosen)) == 5
    sizes = [work.parameters for work in WORKS]
    assert {sizes[one] for one in chosen} >= {min(sizes), max(sizes)}
    assert sorted(choose_spanning(WORKS[:4], SHAPES, 5)) == [0, 1, 2, 3]


def test_a_line_has_no_negative_part() -> None:
    assert fit_line([1.0, 2.0, 3.0], [12.0, 14.0, 16.0]) == pytest.approx((10.0, 2.0))
    start, slope = fit_line([1.0, 2.0, 3.0], [3.0, 2.0, 1.0])
    assert slope == 0.0
    assert start > 0
