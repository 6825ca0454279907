"""Profiles of palettes that generate: the time of a token by itself, and of prompts."""

from __future__ import annotations

from pathlib import Path

import pytest
import stories_palette

from edgedistill.device_profiles import estimate, load_board, profile
from edgedistill.errors import BoardError, InputError
from edgedistill.palette import load, write_profile
from edgedistill.runtime import TextGenerator


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stories_palette.write(tmp_path_factory.mktemp("stories") / "palette")


@pytest.mark.slow
def test_tokens_and_prompts_are_measured_and_budgets_go_by_them(stories: Path) -> None:
    measured = profile(load(stories), lengths=(40, 9999), threads=(1,), rounds=20)
    for subnet in measured.subnets:
        assert [(point.batch, point.tokens) for point in subnet.latency] == [
            (1, 1),
            (1, 40),
            (1, stories_palette.CONTEXT),
        ]
        one, *_, longest = [point.p50_ms for point in subnet.latency]
        assert 0 < one < longest
        assert subnet.peak_mb > 0
    write_profile(load(stories), measured)
    fastest = min(measured.subnets, key=lambda subnet: subnet.latency[0].p50_ms)
    with TextGenerator(stories, min_tokens_per_s=1e6, profile=measured.device.name, threads=1) as generator:
        assert generator.active == fastest.subnet
        assert "no subnet keeps to 1e+06 tokens a second" in generator.explain()


def test_costs_on_a_board_that_is_not_at_hand_are_not_made_up(stories: Path) -> None:
    with pytest.raises(BoardError, match="generates text, whose costs are not estimated"):
        estimate(load(stories), load_board("pi5"))


@pytest.mark.parametrize("asked", [{"quick": True}, {"batches": (1, 8)}])
def test_what_generation_does_not_do_is_refused(stories: Path, asked: dict[str, object]) -> None:
    with pytest.raises(InputError, match="one text at a time"):
        profile(load(stories), **asked)  # type: ignore[arg-type]
