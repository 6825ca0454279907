"""What a profile measures, of what it is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_palette

from edgedistill.device_profiles.measurement_plan import MeasurementPlan, plan_measurements
from edgedistill.palette import DynamicInt8, Palette, Unquantized, load


@pytest.fixture
def palette(tmp_path: Path) -> Palette:
    """The tiny palette with twelve members in each precision, of ten million parameters each."""
    tiny = load(tiny_palette.write(tmp_path / "palette"))
    first = tiny.manifest.subnets[0]
    entries = [
        first.model_copy(
            update={
                "name": f"{quantization.precision}-{size}",
                "quantization": quantization,
                "layer_parameters": 10_000_000 + size,
            }
        )
        for quantization in (Unquantized(scheme="none"), DynamicInt8(scheme="int8-dynamic", zero_point=128))
        for size in range(12)
    ]
    manifest = tiny.manifest.model_copy(update={"subnets": entries})
    return Palette(tiny.folder, manifest, {})


def _planned(palette: Palette, *, quick: bool = False, free_mb: float | None = None) -> MeasurementPlan:
    return plan_measurements(
        palette, lengths=(16, 4, 8, 4), batches=(8, 1), threads=(4, 1), quick=quick, free_mb=free_mb
    )


def test_all_is_measured_in_one_group_where_memory_is_not_known(palette: Palette) -> None:
    found = _planned(palette)
    assert (found.lengths, found.batches, found.threads) == ((4, 8, 16), (1, 8), (4, 1))
    assert found.measured_shapes == found.shapes
    assert found.groups == (tuple(entry.name for entry in palette.manifest.subnets),)


def test_sessions_that_are_open_together_leave_half_of_the_memory(palette: Palette) -> None:
    groups = _planned(palette, free_mb=400.0).groups
    assert sorted(name for group in groups for name in group) == sorted(e.name for e in palette.manifest.subnets)
    assert [len(group) for group in groups][:4] == [3, 3, 3, 3]  # of 64 MB each in fp32
    assert [len(group) for group in _planned(palette, free_mb=1.0).groups] == [1] * 24


def test_a_quick_one_measures_five_of_a_precision_at_the_ends(palette: Palette) -> None:
    found = _planned(palette, quick=True)
    assert found.measured_shapes == [(1, 4), (1, 16), (8, 4), (8, 16)]
    assert found.shapes == [(1, 4), (1, 8), (1, 16), (8, 4), (8, 8), (8, 16)]
    assert [name.partition("-")[0] for name in found.subnets] == ["fp32"] * 5 + ["int8"] * 5
    assert {"fp32-0", "fp32-11", "int8-0", "int8-11"} <= set(found.subnets)
