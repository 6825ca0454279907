"""Subnets that change in mid-text: what comes is, piece by piece, what each of them alone would have gone on with."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_palette
from stories_palette import LARGE, MIDDLE, SMALL, profiled
from waiting import wait_until

from edgedistill.errors import GenerationError
from edgedistill.palette import load
from edgedistill.runtime import Generated, Policy, Reason, TextGenerator
from edgedistill.runtime.onnx import create_session
from edgedistill.runtime.sensors import Readings
from edgedistill.testing import FakeSensors

Continue = Callable[[str, list[int], int], list[int]]
PROMPT = "Once upon a time"
AMPLE = Readings(other_load=0.0, free_mb=1e4)
READY = Policy(dwell_s=0.0, up_dwell_s=0.0)
SHORT = Readings(other_load=0.0, free_mb=1.0)


def check_against(plainly: Continue, generator: TextGenerator, prompt: str, found: Generated) -> None:
    """Each run of tokens is what its subnet alone makes of the tokens before it."""
    ids = generator.token_ids(prompt)
    made = 0
    for subnet, count in found.subnets:
        expected = plainly(subnet, ids + found.token_ids[:made], count)
        assert found.token_ids[made : made + count] == expected[: len(found.token_ids) - made]
        made += count


def serving(generator: TextGenerator, subnet: str) -> None:
    generator.pin(subnet)
    wait_until(lambda: generator.active == subnet)


def test_each_subnet_goes_on_as_it_alone_would(stories: Path, plainly: Continue) -> None:
    with TextGenerator(stories, threads=1, interval_s=0.01) as generator:
        serving(generator, LARGE)
        stream = generator.stream(PROMPT, max_new_tokens=60)
        for place, subnet in enumerate([MIDDLE, LARGE, SMALL, LARGE, MIDDLE]):
            for _ in range(5 + place):
                next(stream)
            serving(generator, subnet)
        rest = "".join(stream)
        found = stream.result
        assert [subnet for subnet, _ in found.subnets] == [LARGE, MIDDLE, LARGE, SMALL, LARGE, MIDDLE]
        assert found.text.endswith(rest)
        check_against(plainly, generator, PROMPT, found)
        assert generator.cached_tokens == 0
        wait_until(lambda: not generator._controller.residents.draining)


@pytest.mark.slow
def test_many_texts_while_subnets_swap(stories: Path, plainly: Continue) -> None:
    """From several threads, with another subnet every few tokens of one: none is lost, garbled or left behind."""
    found: dict[str, Generated] = {}
    prompts = [PROMPT, "One day, Tom", "The big dog", "Lily and Ben"]
    with TextGenerator(stories, threads=1, interval_s=0.005) as generator:

        def ask(place: int) -> None:
            stream = generator.stream(prompts[place], max_new_tokens=100)
            for turn, _ in enumerate(stream):
                if place == 0 and turn % 8 == 0:
                    serving(generator, [LARGE, MIDDLE, SMALL][turn // 8 % 3])
            found[prompts[place]] = stream.result

        threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(prompts))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == len(prompts)
        for prompt, one in found.items():
            assert one.reason == "length"
            check_against(plainly, generator, prompt, one)
        assert len(found[PROMPT].subnets) > 6
        assert generator.cached_tokens == 0


def test_a_better_subnet_is_followed_once_it_is_worth_the_prefill(stories: Path, plainly: Continue) -> None:
    """After m of many tokens: reading 5 + m takes 2 + (4 + m) · 6/63 ms, at most a quarter of m · 2 ms from 6 on."""
    with TextGenerator(profiled(stories), profile="board", policy=READY, interval_s=0.01) as generator:
        assert len(generator.token_ids(PROMPT)) == 5
        serving(generator, SMALL)
        stream = generator.stream(PROMPT, max_new_tokens=120)
        next(stream)
        generator.pin(None)
        wait_until(lambda: generator.active == LARGE)
        "".join(stream)
        assert stream.result.subnets == [(SMALL, 6), (LARGE, 114)]
        check_against(plainly, generator, PROMPT, stream.result)


def test_a_text_that_is_nearly_over_stays_and_its_subnet_with_it(stories: Path) -> None:
    """Ten tokens are no longer worth reading a hundred, faster or better; what it is on goes when it ends."""
    with TextGenerator(profiled(stories), profile="board", policy=READY, interval_s=0.01) as generator:
        serving(generator, MIDDLE)
        stream = generator.stream(PROMPT, max_new_tokens=100)
        while sum(count for _, count in runs(stream)) < 90:
            next(stream)
        generator.pin(None)
        wait_until(lambda: generator.active == LARGE)
        assert generator._controller.residents.draining
        "".join(stream)
        assert stream.result.subnets == [(MIDDLE, 100)]
        wait_until(lambda: not generator._controller.residents.draining)


def test_a_subnet_that_was_loaded_again_in_between_goes_on_with_the_same_cache(
    stories: Path, plainly: Continue
) -> None:
    with TextGenerator(stories, threads=1, interval_s=0.01) as generator:
        serving(generator, LARGE)
        stream = generator.stream(PROMPT, max_new_tokens=40)
        for _ in range(5):
            next(stream)
        before = stream._writer.text._slot
        assert before is not None
        session, cache = before.subnet.session, before._cache
        for subnet in (MIDDLE, LARGE):
            serving(generator, subnet)
        next(stream)
        after = stream._writer.text._slot
        assert after is before
        assert after.subnet.session is not session
        assert after._cache is cache
        "".join(stream)
        assert stream.result.subnets == [(LARGE, 40)]
        check_against(plainly, generator, PROMPT, stream.result)


@pytest.mark.slow
def test_a_text_ends_with_the_palette_that_it_began_with(stories: Path, tmp_path: Path, plainly: Continue) -> None:
    folder = Path(shutil.copytree(stories, tmp_path / "palette"))
    with TextGenerator(folder, threads=1, interval_s=0.01) as generator:
        old = generator.palette
        stream = generator.stream(PROMPT, max_new_tokens=60)
        for _ in range(5):
            next(stream)
        provenance = old.manifest.provenance.model_copy(update={"seed": 7})
        tiny_palette.reseal(folder, provenance=provenance)
        wait_until(lambda: generator.palette is not old)
        "".join(stream)
        assert stream.result.subnets == [(LARGE, 60)]
        check_against(plainly, generator, PROMPT, stream.result)
        assert generator.generate(PROMPT, max_new_tokens=60).token_ids == stream.result.token_ids
        wait_until(lambda: not generator._controller.residents.draining)


def test_a_lack_of_memory_is_followed_at_once(stories: Path) -> None:
    sensors = FakeSensors([AMPLE])
    with TextGenerator(stories, threads=1, interval_s=0.01, sensors=sensors) as generator:
        assert generator.active == LARGE
        wait_until(lambda: generator._controller.fallback is not None)
        stream = generator.stream(PROMPT, max_new_tokens=100)
        for _ in range(5):
            next(stream)
        given = sum(count for _, count in runs(stream))
        sensors.then(SHORT)
        wait_until(lambda: generator.active == SMALL)
        next(stream)
        assert runs(stream)[0] == (LARGE, given)
        assert runs(stream)[1][0] == SMALL
        stream.close()


def runs(stream: Any) -> list[tuple[str, int]]:
    return list(stream._writer.text.subnets)


class Breaking:
    """A real session of a subnet that breaks when told to: it raises, or answers with what is no number."""

    def __init__(self, path: Path, broken: set[str], name: str, how: str) -> None:
        self._session = create_session(path, 1)
        self._broken, self._name, self._how = broken, name, how

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run_with_iobinding(self, binding: Any, options: Any = None) -> None:
        if self._name in self._broken and self._how == "raises":
            raise RuntimeError("no memory\nat some place")
        self._session.run_with_iobinding(binding, options)
        if self._name in self._broken:
            logits = next(one for one in binding.get_outputs() if one.shape()[-1] == 512)
            logits.update_inplace(np.full(logits.shape(), np.nan, np.float32))


def breaking(folder: Path, broken: set[str], how: str) -> Callable[[str], Any]:
    palette = load(folder)
    return lambda subnet: Breaking(palette.graph_path(subnet), broken, subnet, how)


@pytest.mark.parametrize("how", ["raises", "not finite"])
def test_a_subnet_that_breaks_loses_no_text(stories: Path, plainly: Continue, how: str) -> None:
    broken: set[str] = set()
    with TextGenerator(stories, create=breaking(stories, broken, how), interval_s=0.01) as generator:
        wait_until(lambda: len(generator._controller.residents.names) == 2)
        stream = generator.stream(PROMPT, max_new_tokens=60)
        for _ in range(5):
            next(stream)
        broken.add(LARGE)
        "".join(stream)
        found = stream.result
        assert found.reason == "length"
        assert [subnet for subnet, _ in found.subnets][:2] == [LARGE, SMALL]
        check_against(plainly, generator, PROMPT, found)
        wait_until(lambda: generator.active != LARGE)
        assert any(r.reason is Reason.QUARANTINED and r.subnet == LARGE for r in generator.decisions)


@pytest.mark.parametrize("sampling", [{}, {"temperature": 0.7, "seed": 1}], ids=["greedy", "drawn"])
def test_another_subnet_is_loaded_for_a_text_that_one_alone_in_memory_cannot_go_on_with(
    stories: Path, sampling: dict[str, Any]
) -> None:
    policy = Policy(max_memory_mb=1e6, dwell_s=3600.0)
    create = breaking(stories, {LARGE}, "not finite")
    with TextGenerator(stories, create=create, interval_s=0.01, policy=policy) as generator:
        found = generator.generate(PROMPT, max_new_tokens=20, **sampling)
        assert LARGE not in [subnet for subnet, _ in found.subnets]
        assert len(found.token_ids) == 20
    with TextGenerator(stories, create=create, interval_s=0.01, only=[LARGE]) as generator:
        for _ in range(2):
            with pytest.raises(GenerationError, match="not finite; run 'edgedistill verify'"):
                generator.generate(PROMPT, **sampling)
        assert generator.cached_tokens == 0


@pytest.mark.parametrize("how", ["raises", "not finite"])
def test_where_nothing_can_go_on_one_line_says_so_and_nothing_is_held(stories: Path, how: str) -> None:
    broken = {LARGE, SMALL}
    create = breaking(stories, broken, how)
    with TextGenerator(stories, create=create, interval_s=0.01, only=[LARGE, SMALL]) as generator:
        wait_until(lambda: len(generator._controller.residents.names) == 2)
        with pytest.raises(GenerationError, match=f"{LARGE} could not go on with a text, nor any other") as told:
            generator.generate(PROMPT)
        assert "\n" not in str(told.value)
        assert generator.cached_tokens == 0
        broken.clear()
        assert generator.generate(PROMPT, max_new_tokens=5).reason == "length"
