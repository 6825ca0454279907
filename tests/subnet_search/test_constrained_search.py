"""The search under a device's limits: what fits, by which cost, and what is said where nothing does."""

from __future__ import annotations

import minilm
import pytest

from edgedistill.architecture import Subnet
from edgedistill.device_profiles import load_board
from edgedistill.errors import SearchError
from edgedistill.subnet_search import Cost, CostMetric, EstimatedCosts, Search, SearchLimits, Terms, search

QUALITIES = {subnet: 0.5 + minilm.share(subnet) ** 0.5 / 2 for subnet in minilm.SPACE}


class Device:
    """A millisecond and a half for each layer, ten and more megabytes."""

    source = "measured in a test"

    def predict(self, subnet: Subnet) -> Cost:
        return Cost(1.5 * len(subnet.layers), 10 + 40 * minilm.share(subnet))


def _search(
    cost_metric: CostMetric = "parameters", *, count: int = 6, limits: SearchLimits | None = None, on: object = None
) -> Search:
    return search(QUALITIES, Terms(minilm.ARCH, 64, cost_metric, limits or SearchLimits(), on), count)  # type: ignore[arg-type]


def test_without_a_device_the_family_goes_by_size() -> None:
    found = _search()
    assert found.family[0].subnet == minilm.SPACE.maxnet
    assert found.family[-1].subnet == minilm.SPACE.minnet
    assert found.source is None
    assert all(member.cost is None for member in found.scored)
    assert len(found.scored) == len(minilm.SPACE)


@pytest.mark.parametrize("cost_metric", ["latency", "memory"])
def test_cost_on_a_device_needs_one(cost_metric: CostMetric) -> None:
    with pytest.raises(SearchError, match=r"needs a device; give --device"):
        _search(cost_metric)
    with pytest.raises(SearchError, match="are a device's"):
        _search(limits=SearchLimits(max_memory_mb=20))


@pytest.mark.parametrize(
    "limits", [SearchLimits(max_latency_ms=6.5), SearchLimits(max_memory_mb=25), SearchLimits(6.5, 25)]
)
def test_every_member_keeps_to_the_limits_and_the_best_that_does_is_one(limits: SearchLimits) -> None:
    found = _search("memory", limits=limits, on=Device())
    for member in found.family:
        assert member.cost is not None
        assert limits.allow(member.cost)
    allowed = [m for m in found.scored if m.cost is not None and limits.allow(m.cost)]
    assert 0 < len(allowed) < len(found.scored)
    assert max(m.quality for m in allowed) == max(m.quality for m in found.family)


def test_the_front_is_of_the_cost_that_was_asked_for() -> None:
    """By latency only the widest of each depth counts; by memory each size is a step of its own."""
    by_latency = _search("latency", on=Device())
    assert [len(member.subnet.layers) for member in by_latency.front] == [6, 4, 2]
    assert all(member.subnet.layers[0].heads == 12 for member in by_latency.front)
    assert len(_search("memory", on=Device()).front) > 3
    assert len(_search("macs").front) > 3


def test_limits_that_nothing_keeps_to_are_told_with_what_the_least_takes() -> None:
    with pytest.raises(SearchError, match=r"no subnet keeps to 1 ms \(the least is 3\) and 5 MB \(the least is 1"):
        _search("latency", limits=SearchLimits(1, 5), on=Device())


def test_an_estimate_says_so() -> None:
    found = _search("latency", on=EstimatedCosts(minilm.ARCH, load_board("pi5"), 64))
    assert found.source is not None
    assert "never checked" in found.source
    latencies = [member.cost.latency_ms for member in found.family if member.cost]
    assert latencies == sorted(latencies, reverse=True)
