from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import minilm
import pytest
import tiny_palette

from edgedistill.architecture import Subnet
from edgedistill.device_profiles import Board, estimate, load_board
from edgedistill.palette import Layer, Palette, load, write_profile

ARCH = replace(minilm.ARCH, outputs=len(tiny_palette.LABELS), pooling="mean", dense=None)
SUBNETS = {
    "large": ARCH.full,
    "middle": Subnet.uniform((0, 2, 3, 5), hidden=384, heads=6, ffn=768),
    "small": Subnet.uniform((0, 5), hidden=192, heads=3, ffn=384),
}


@pytest.fixture
def palette(tmp_path: Path) -> Palette:
    """The tiny palette, with the costs of three subnets of MiniLM-L6 and its length."""
    tiny = load(tiny_palette.write(tmp_path / "palette"))
    manifest = tiny.manifest
    entries = [
        entry.model_copy(
            update={
                "layers": [Layer(index=la.index, heads=la.heads, ffn=la.ffn) for la in SUBNETS[entry.name].layers],
                "hidden": SUBNETS[entry.name].hidden,
                "layer_parameters": ARCH.layer_parameters(SUBNETS[entry.name]),
                "total_parameters": ARCH.total_parameters(SUBNETS[entry.name]),
                "macs": ARCH.macs(SUBNETS[entry.name], tokens=64),
            }
        )
        for entry in manifest.subnets
    ]
    tokenizer = manifest.text_input.tokenizer.model_copy(update={"max_tokens": 512})
    texts = manifest.text_input.model_copy(update={"tokenizer": tokenizer})
    changed = manifest.model_copy(update={"subnets": entries, "input": texts}).sealed()
    return Palette(tiny.folder, changed, {})


def _latencies(palette: Palette, board: Board, subnet: str) -> dict[int, float]:
    found = estimate(palette, board).subnet(subnet)
    assert found is not None
    return {point.tokens: point.p50_ms for point in found.latency}


def test_an_estimate_says_so_everywhere(palette: Palette) -> None:
    board = load_board("pi5")
    profile = estimate(palette, board)
    assert profile.kind == "estimated"
    assert profile.method.startswith("estimated: ")
    assert "never checked on the board" in profile.method
    assert profile.manifest_digest == palette.manifest.digest
    assert (profile.device.name, profile.device.cores, profile.conditions.threads) == ("pi5", 4, 4)
    assert [subnet.subnet for subnet in profile.subnets] == ["large", "middle", "small"]
    assert {point.samples for subnet in profile.subnets for point in subnet.latency} == {0}


def test_a_larger_subnet_and_a_longer_sequence_cost_more(palette: Palette) -> None:
    large, middle, small = estimate(palette, load_board("jetson-orin-nano")).subnets
    for more, less in ((large, middle), (middle, small)):
        assert more.peak_mb > less.peak_mb
        assert more.load_ms > less.load_ms
        assert all(a.p50_ms > b.p50_ms for a, b in zip(more.latency, less.latency, strict=True))
    for subnet in (large, middle, small):
        by_length = [point.p50_ms for point in subnet.latency]
        assert by_length == sorted(set(by_length))


def test_a_board_of_twice_the_rate_takes_half_the_time(palette: Palette) -> None:
    """Where memory is never the limit, all that is left goes with the clock."""
    slow = load_board("pi5").model_copy(update={"clock_ghz": 1.0, "memory_bandwidth_gb_s": 2000.0})
    fast = slow.model_copy(update={"clock_ghz": 2.0})
    for name in SUBNETS:
        times, half = (_latencies(palette, board, name) for board in (slow, fast))
        assert [times[n] / half[n] for n in times] == pytest.approx([2.0] * 3, rel=0.02)


def test_where_memory_is_slow_reading_the_weights_is_the_limit(palette: Palette) -> None:
    board = load_board("pi5").model_copy(update={"memory_bandwidth_gb_s": 0.1})
    read_ms = 4 * ARCH.layer_parameters(ARCH.full) / (0.1e6 * 0.65)
    assert _latencies(palette, board, "large")[16] == pytest.approx(read_ms, rel=0.02)


def test_an_estimate_is_an_interval(palette: Palette) -> None:
    for subnet in estimate(palette, load_board("pi4")).subnets:
        assert subnet.predicted
        assert all(2 * p.low_ms == pytest.approx(p.p50_ms, rel=0.01) for p in subnet.latency)
        assert all(p.high_ms == pytest.approx(2 * p.p50_ms, rel=0.01) for p in subnet.latency)


def test_it_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    palette = load(tiny_palette.write(tmp_path / "palette"))
    profile = estimate(palette, load_board("pi5"))
    assert write_profile(palette, profile).name == "pi5.json"
    assert load(palette.folder).profiles == {"pi5": profile}


def test_no_length_is_beyond_what_the_palette_takes(tmp_path: Path) -> None:
    palette = load(tiny_palette.write(tmp_path / "palette"))
    assert set(_latencies(palette, load_board("pi5"), "large")) == {tiny_palette.MAX_TOKENS}
