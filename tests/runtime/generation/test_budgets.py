"""Which subnet serves by which budget, and that caches count as memory while they are held."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stories_palette import LARGE, MIDDLE, SMALL, profiled
from waiting import wait_until

from edgedistill.palette import load
from edgedistill.runtime import Policy, Reason, TextGenerator
from edgedistill.runtime.engine.kv_cache import capacity_for
from edgedistill.runtime.generation.generation_costs import STEP, StepCosts
from edgedistill.runtime.predict.slowdown import Size
from edgedistill.runtime.sensors import Readings
from edgedistill.testing import FakeSensors, FakeSessions

QUIET = FakeSensors([Readings(other_load=0.0, free_mb=1e4)])


def opened(stories: Path, **budgets: Any) -> TextGenerator:
    return TextGenerator(profiled(stories), profile="board", create=FakeSessions(), sensors=QUIET, **budgets)


@pytest.mark.parametrize(
    ("budgets", "subnet"),
    [
        ({}, LARGE),
        ({"min_tokens_per_s": 400.0}, LARGE),  # its p95 is 2.5 ms
        ({"min_tokens_per_s": 401.0}, MIDDLE),
        ({"min_tokens_per_s": 801.0}, SMALL),
        ({"max_first_token_ms": 10.0}, LARGE),  # 64 tokens in 8 ms, times 1.25
        ({"max_first_token_ms": 9.9}, MIDDLE),
        ({"max_first_token_ms": 9.9, "min_tokens_per_s": 801.0}, SMALL),
        ({"max_memory_mb": 50.0}, LARGE),
        ({"max_memory_mb": 49.0}, MIDDLE),
        ({"policy": Policy(max_latency_ms=1.25, max_first_token_ms=99.0)}, MIDDLE),
    ],
)
def test_budgets_choose_by_the_profile(stories: Path, budgets: dict[str, Any], subnet: str) -> None:
    with opened(stories, **budgets) as generator:
        assert generator.active == subnet
        assert generator.decisions[0].reason is Reason.FIRST


def test_a_budget_that_none_keeps_is_told_in_one_line_and_the_smallest_serves(stories: Path) -> None:
    with opened(stories, min_tokens_per_s=2000.0, max_first_token_ms=1.0) as generator:
        assert (generator.active, generator.decisions[0].reason) == (SMALL, Reason.NO_FIT_SMALLEST)
        assert generator.explain().splitlines()[-1] == (
            f"no subnet keeps to 2000 tokens a second, a first token in 1 ms: {SMALL}, the smallest, serves, "
            "with 1600 tokens a second, a first token in 2.5 ms expected"
        )
    with opened(stories, min_tokens_per_s=100.0) as generator:
        assert "no subnet" not in generator.explain()
        assert "first token 10.0 ms" in generator.explain()


@pytest.mark.parametrize(
    ("prompt", "subnets"),
    [(30, [(LARGE, 3)]), (150, [(SMALL, 3)])],  # three tokens are not worth reading 150 again
)
def test_a_long_prompt_begins_on_the_smallest_where_only_that_reads_it_in_time(
    stories: Path, prompt: int, subnets: list[tuple[str, int]]
) -> None:
    """64 tokens are expected in 10 ms, and 150 in 23."""
    palette = profiled(stories)
    with TextGenerator(palette, profile="board", max_first_token_ms=14.0, sensors=QUIET, interval_s=0.01) as generator:
        wait_until(lambda: generator.active == LARGE and generator._controller.fallback is not None)
        assert generator.generate([5] * prompt, max_new_tokens=3).subnets == subnets


def test_caches_count_as_memory_of_what_serves_while_they_are_held(stories: Path) -> None:
    entries = {entry.name: entry for entry in load(stories).manifest.subnets}
    with TextGenerator(profiled(stories), profile="board", sensors=QUIET) as generator:
        costs = generator._controller.source.costs

        def memory_mb() -> dict[str, tuple[float, float]]:
            """By subnet: alone, and on top of the smallest."""
            return {c.name: (c.memory_mb, c.beside.memory_mb if c.beside else 0.0) for c in costs.candidates(STEP)}

        before = memory_mb()
        assert before == {LARGE: (40.0, 40.0), MIDDLE: (20.0, 20.0), SMALL: (10.0, 0.0)}
        streams = [generator.stream("Once", max_new_tokens=count) for count in (5, 100)]
        assert memory_mb() == before, "they have not begun"
        for stream in streams:
            next(stream)
        tokens = 32 + 128
        assert generator.cached_tokens == tokens
        caches_mb = {name: entries[name].cache_bytes_a_token * tokens / 1e6 for name in before}  # type: ignore[operator]
        for name, (alone_mb, beside_mb) in memory_mb().items():
            assert alone_mb == pytest.approx(before[name][0] + caches_mb[name])
            if name != SMALL:  # with the smallest, which has no cache then, all is what both take and one cache
                both_mb = beside_mb + before[SMALL][0] + caches_mb[SMALL]
                assert both_mb == pytest.approx(before[name][1] + before[SMALL][0] + caches_mb[name])
        list(streams[0])
        streams[1].close()
        assert memory_mb() == before


def test_what_a_cache_takes_is_what_the_manifest_says(stories: Path) -> None:
    with TextGenerator(stories, threads=1) as generator:
        for name in (LARGE, MIDDLE, SMALL):
            generator.pin(name)
            wait_until(lambda name=name: generator.active == name)  # type: ignore[misc]
            with generator.stream("Once", max_new_tokens=20) as stream:
                next(stream)
                arrays = stream._writer.text._slot._cache.arrays.values()  # type: ignore[union-attr]
                entry = generator.palette.manifest.subnet(name)
                assert sum(array.nbytes for array in arrays) == 32 * (entry.cache_bytes_a_token or 0)


def test_room_is_rounded_up_and_never_beyond_the_context() -> None:
    assert [capacity_for(tokens, 100) for tokens in (1, 32, 33, 96, 97, 100)] == [32, 32, 64, 96, 100, 100]


def test_without_a_profile_tokens_and_prompts_are_learnt_apart(stories: Path) -> None:
    manifest = load(stories).manifest
    costs = StepCosts(manifest)
    large, small = manifest.subnet(LARGE), manifest.subnet(SMALL)
    assert costs.candidate(LARGE, STEP).p50_ms is None
    for _ in range(5):
        costs.ratio(LARGE, STEP, 2.0)
    assert costs.candidate(LARGE, STEP).p50_ms == pytest.approx(2.0)
    share = small.total_parameters / large.total_parameters
    assert costs.candidate(SMALL, STEP).p50_ms == pytest.approx(2.0 * share), "by the weights that are read"
    assert costs.candidate(LARGE, Size(1, 64)).p50_ms is None
    for _ in range(5):
        costs.ratio(LARGE, Size(1, 32), 6.0)
    assert costs.candidate(LARGE, Size(1, 64)).p50_ms == pytest.approx(2.0 + 2 * 4.0)
    macs = small.macs / large.macs
    assert costs.candidate(SMALL, Size(1, 64)).p50_ms == pytest.approx(2.0 * share + 8.0 * macs)
    assert costs.ratio(SMALL, STEP, 4.0 * share) == pytest.approx(2.0)
