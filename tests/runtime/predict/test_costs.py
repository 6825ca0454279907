from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_palette

from edgedistill.palette import Manifest, Palette, load
from edgedistill.runtime.predict.candidates import Beside
from edgedistill.runtime.predict.costs import MacCosts, ProfileCosts, costs_for
from edgedistill.runtime.predict.slowdown import Size


@pytest.fixture
def manifest(tiny: Path) -> Manifest:
    return load(tiny).manifest


@pytest.mark.parametrize(
    ("size", "p50_ms"),
    [
        (Size(1, 64), 4.0),
        (Size(1, 128), 8.0),
        (Size(1, 96), 6.0),  # between two points
        (Size(1, 256), 16.0),  # beyond the last, in proportion
        (Size(1, 8), 4.0),  # below the first, no less
        (Size(3, 64), 12.0),  # a batch, in proportion
    ],
)
def test_a_profile_is_interpolated(manifest: Manifest, size: Size, p50_ms: float) -> None:
    costs = ProfileCosts(manifest, tiny_palette.profile(manifest))
    large, middle, _ = costs.candidates(size)
    assert (large.name, large.p50_ms, large.memory_mb) == ("large", pytest.approx(p50_ms), 100.0)
    assert large.p95_ms == pytest.approx(p50_ms * 1.25)
    assert middle.p50_ms == pytest.approx(p50_ms / 2)
    assert costs.ratio("large", size, 3 * p50_ms) == pytest.approx(3.0)


def test_memory_beside_the_smallest_is_the_profiles(manifest: Manifest) -> None:
    document = tiny_palette.profile(manifest).model_dump(mode="json")
    document["subnets"][0]["with_smallest_mb"] = 110.0  # the large one: 100 alone, and 25 of the small one
    costs = ProfileCosts(manifest, type(tiny_palette.profile(manifest)).model_validate(document))
    large, middle, small = costs.candidates(Size(1, 64))
    assert (large.beside, middle.beside, small.beside) == (Beside("small", 85.0), Beside("small", 50.0), None)
    document["smallest"] = "of a family that has changed"
    costs = ProfileCosts(manifest, type(tiny_palette.profile(manifest)).model_validate(document))
    assert {candidate.beside for candidate in costs.candidates(Size(1, 64))} == {None}


def test_a_measured_batch_is_preferred_to_a_guess(manifest: Manifest) -> None:
    document = tiny_palette.profile(manifest).model_dump(mode="json")
    extra = dict.fromkeys(("p50_ms", "low_ms", "high_ms", "p95_ms", "p99_ms"), 16.0)
    extra |= {"threads": 1, "batch": 8, "tokens": 64, "samples": 9}
    for subnet in document["subnets"]:
        subnet["latency"].append(extra)
    costs = ProfileCosts(manifest, type(tiny_palette.profile(manifest)).model_validate(document))
    assert costs.candidates(Size(8, 64))[0].p50_ms == 16.0
    assert costs.candidates(Size(1, 64))[0].p50_ms == 4.0


def test_without_a_profile_macs_and_observations_stand_in(manifest: Manifest) -> None:
    costs = MacCosts(manifest)
    size = Size(1, 64)
    assert [c.p50_ms for c in costs.candidates(size)] == [None] * 3
    for _ in range(4):
        assert costs.ratio("small", size, 1.0) is None
    assert costs.ratio("small", size, 1.0) == pytest.approx(1.0)
    assert [c.p50_ms for c in costs.candidates(size)] == pytest.approx([4.0, 2.0, 1.0])
    assert costs.ratio("large", size, 12.0) == pytest.approx(3.0)


def test_contention_does_not_become_the_expectation(manifest: Manifest) -> None:
    costs = MacCosts(manifest)
    size = Size(1, 64)
    for latency_ms in (1.0,) * 10 + (3.0,) * 60:
        ratio = costs.ratio("small", size, latency_ms)
    assert ratio == pytest.approx(3.0)


def test_the_guess_is_said_once(manifest: Manifest, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        costs_for(manifest, None)
        costs_for(manifest, tiny_palette.profile(manifest))
    (record,) = caplog.records
    assert "edgedistill profile" in record.getMessage()


def test_quality_is_validation_s_or_else_size(profiled: Callable[..., Palette]) -> None:
    manifest = profiled().manifest
    assert [c.quality for c in MacCosts(manifest).candidates(Size(1, 64))] == [0.9, 0.7, 0.6]
    unscored = manifest.subnets[0].model_copy(update={"quality": []})
    partly = manifest.model_copy(update={"subnets": [unscored, *manifest.subnets[1:]]})
    assert [c.quality for c in MacCosts(partly).candidates(Size(1, 64))] == [1024.0, 512.0, 256.0]


def test_figures_of_as_many_threads_are_preferred(manifest: Manifest) -> None:
    document = tiny_palette.profile(manifest).model_dump(mode="json")
    for subnet in document["subnets"]:
        subnet["latency"] += [point | {"threads": 4, "p50_ms": point["p50_ms"] / 2} for point in subnet["latency"]]
    profile = type(tiny_palette.profile(manifest)).model_validate(document)
    for threads, p50_ms in ((None, 4.0), (1, 4.0), (2, 4.0), (3, 2.0), (4, 2.0), (8, 2.0)):
        assert ProfileCosts(manifest, profile, threads).candidates(Size(1, 64))[0].p50_ms == p50_ms
