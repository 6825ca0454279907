"""Costs from a measured palette: the line that its members lie on, and its error where they do not."""

from __future__ import annotations

from pathlib import Path

import minilm
import pytest
import tiny_palette

from edgedistill.architecture import Subnet
from edgedistill.device_profiles import estimate_subnet, load_board
from edgedistill.errors import SearchError
from edgedistill.palette import (
    PROFILE_VERSION,
    Conditions,
    DeviceInfo,
    DeviceProfile,
    LatencyPoint,
    Layer,
    Palette,
    SubnetProfile,
    load,
)
from edgedistill.subnet_search import FittedCosts

ARCH = minilm.ARCH
MEASURED = list(minilm.SPACE)[::4]


def _latency_ms(subnet: Subnet, tokens: int = 40) -> float:
    return 0.2 + 0.1 * len(subnet.layers) + 0.01 * ARCH.macs(subnet, tokens=tokens) / 1e6


def _memory_mb(subnet: Subnet) -> float:
    return 20 + 4 * ARCH.layer_parameters(subnet) / 1e6


def _profiled(folder: Path, subnets: list[Subnet], *, off: float = 1.0) -> tuple[Palette, DeviceProfile]:
    """A palette of these subnets, measured as the formulas say, the last one off by a factor."""
    tiny = load(tiny_palette.write(folder))
    first = tiny.manifest.subnets[0]
    entries = [
        first.model_copy(
            update={
                "name": subnet.name,
                "layers": [Layer(index=la.index, heads=la.heads, ffn=la.ffn) for la in subnet.layers],
                "hidden": subnet.hidden,
            }
        )
        for subnet in subnets
    ]
    factors = [1.0] * (len(subnets) - 1) + [off]
    measured = [
        SubnetProfile(
            subnet=subnet.name,
            latency=[_point(tokens, factor * _latency_ms(subnet, tokens)) for tokens in (16, 64)],
            load_ms=1.0,
            cold_load_ms=1.0,
            peak_mb=_memory_mb(subnet),
            steady_mb=_memory_mb(subnet),
            with_smallest_mb=_memory_mb(subnet),
        )
        for subnet, factor in zip(subnets, factors, strict=True)
    ]
    profile = DeviceProfile(
        schema_version=PROFILE_VERSION,
        kind="measured",
        method="formulas",
        manifest_digest="",
        device=DeviceInfo(
            name="d", board="a board", cpu="c", cores=1, memory_mb=1.0, system="s", onnxruntime="1", provider="CPU"
        ),
        conditions=Conditions(threads=1, date="2026-01-01", quiet=True, other_load=0.0),
        smallest=measured[0].subnet,
        subnets=measured,
    )
    return Palette(tiny.folder, tiny.manifest.model_copy(update={"subnets": entries}), {}), profile


def _point(tokens: int, ms: float) -> LatencyPoint:
    figures = dict.fromkeys(("p50_ms", "low_ms", "high_ms", "p95_ms", "p99_ms"), ms)
    return LatencyPoint(threads=1, batch=1, tokens=tokens, samples=9, **figures)


def test_subnets_on_a_line_are_found_on_it_measured_or_not_at_lengths_in_between(tmp_path: Path) -> None:
    fitted = FittedCosts(ARCH, *_profiled(tmp_path / "p", MEASURED), tokens=40)
    for subnet in minilm.SPACE:
        cost = fitted.predict(subnet)
        assert cost.latency_ms == pytest.approx(_latency_ms(subnet), rel=0.01)
        assert cost.memory_mb == pytest.approx(_memory_mb(subnet), rel=0.01)
    assert fitted.error < 0.01
    assert "measured on a board" in fitted.source


def test_what_the_line_misses_is_said(tmp_path: Path) -> None:
    fitted = FittedCosts(ARCH, *_profiled(tmp_path / "p", MEASURED, off=2.0), tokens=64)
    assert fitted.error > 0.2
    assert f"{fitted.error:.0%}" in fitted.source


def test_three_subnets_are_too_few(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match="has 3 subnets in fp32, expected 4 or more"):
        FittedCosts(ARCH, *_profiled(tmp_path / "p", MEASURED[:3]), tokens=64)


def test_int8_is_read_faster_and_kept_smaller_and_computed_no_faster() -> None:
    board, full = load_board("pi5"), ARCH.full
    slow_memory = board.model_copy(update={"memory_bandwidth_gb_s": 0.1})
    for where, faster in ((slow_memory, True), (board.model_copy(update={"memory_bandwidth_gb_s": 2000.0}), False)):
        (exact_ms, exact_mb), (whole_ms, whole_mb) = (
            estimate_subnet(ARCH, full, where, tokens=64, precision=precision) for precision in ("fp32", "int8")
        )
        assert (whole_ms < 0.9 * exact_ms) == faster
        assert whole_mb < exact_mb
