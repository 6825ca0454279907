"""What an application sees of generation, on real weights: texts, their ends, and what is refused."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_palette
from stories_palette import CONTEXT, LARGE

from edgedistill.errors import InputError, PaletteError, SessionClosed
from edgedistill.runtime import AdaptiveSession, Generated, TextClassifier, TextGenerator
from edgedistill.runtime.onnx import create_session

PROMPT = "Once upon a time"
Continue = Callable[[str, list[int], int], list[int]]


@pytest.fixture(scope="module")
def generator(stories: Path) -> Any:
    with TextGenerator(stories, threads=1) as generator:
        generator.pin(LARGE)
        yield generator


def test_it_writes_what_the_model_writes(generator: TextGenerator, plainly: Continue) -> None:
    """The beginning of what llama2.c itself writes with these weights."""
    found = generator.generate(PROMPT, max_new_tokens=40)
    assert found.text.startswith(", there was a little girl named Lily. She loved to play outside in the park.")
    assert found.token_ids == plainly(LARGE, generator.token_ids(PROMPT), 40)
    assert (found.reason, found.subnets) == ("length", [(LARGE, 40)])
    assert found.first_token_ms is not None
    assert found.tokens_per_s is not None
    assert found.first_token_ms > 0 < found.tokens_per_s


def test_a_stream_gives_the_same_in_pieces(generator: TextGenerator) -> None:
    whole = generator.generate(PROMPT, max_new_tokens=40)
    with generator.stream(PROMPT, max_new_tokens=40) as stream:
        pieces = []
        for piece in stream:
            pieces.append(piece)
            if len(pieces) == 3:
                with pytest.raises(InputError, match="still being generated"):
                    _ = stream.result
    assert len(pieces) > 20
    assert "".join(pieces) == whole.text == stream.result.text
    assert stream.result.token_ids == whole.token_ids


@pytest.mark.parametrize(
    ("make", "palette", "expected"), [(TextGenerator, "stories", True), (AdaptiveSession, "tiny", False)]
)
def test_sessions_are_made_for_texts_where_they_write_some(
    make: Any, palette: str, expected: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def create(path: Path, threads: int, *, decoder: bool, **options: Any) -> Any:
        made.append(decoder)
        return create_session(path, threads, decoder=decoder, **options)

    monkeypatch.setattr("edgedistill.runtime.serving.create_session", create)
    with make(request.getfixturevalue(palette), threads=1):
        assert set(made) == {expected}


def test_token_ids_are_a_prompt_as_well(generator: TextGenerator) -> None:
    ids = generator.token_ids(PROMPT)
    assert generator.generate(ids, max_new_tokens=20).text == generator.generate(PROMPT, max_new_tokens=20).text


def test_a_stop_string_ends_it_and_is_left_out(generator: TextGenerator) -> None:
    whole = generator.generate(PROMPT, max_new_tokens=60).text
    found = generator.generate(PROMPT, max_new_tokens=60, stop=["never met", " outside in"])
    assert found.reason == "stop"
    assert found.text == whole[: whole.index(" outside in")]
    unmet = generator.generate(PROMPT, max_new_tokens=60, stop=["never met"])
    assert (unmet.text, unmet.reason) == (whole, "length")


def test_an_answer_ends_with_the_context(generator: TextGenerator) -> None:
    found = generator.generate(PROMPT, max_new_tokens=10_000)
    assert found.reason == "length"
    assert len(generator.token_ids(PROMPT)) + len(found.token_ids) == CONTEXT


def test_the_token_that_ends_texts_ends_them_and_is_none_of_theirs(
    generator: TextGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = generator.generate(PROMPT, max_new_tokens=30).token_ids
    fifth = next(token for place, token in enumerate(tokens) if place >= 5 and token not in tokens[:place])
    changed = generator._prompts.generation.model_copy(update={"eos_token_ids": [1, fifth]})
    monkeypatch.setattr(generator._prompts, "generation", changed)
    found = generator.generate(PROMPT, max_new_tokens=30)
    assert found.reason == "eos"
    assert found.token_ids == tokens[: tokens.index(fifth)]
    assert found.subnets == [(LARGE, tokens.index(fifth) + 1)]


def test_a_seed_makes_draws_repeat(generator: TextGenerator) -> None:
    def drawn(seed: int) -> Generated:
        return generator.generate(PROMPT, max_new_tokens=30, temperature=1.0, top_k=40, top_p=0.95, seed=seed)

    assert drawn(1).token_ids == drawn(1).token_ids
    assert drawn(1).token_ids != drawn(2).token_ids


def test_many_threads_get_each_their_own_text(generator: TextGenerator) -> None:
    prompts = [PROMPT, "One day, Tom", "Lily and Ben were", "The big dog"] * 2
    expected = [generator.generate(prompt, max_new_tokens=50).text for prompt in prompts]
    found: dict[int, str] = {}

    def ask(place: int) -> None:
        found[place] = generator.generate(prompts[place], max_new_tokens=50).text

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[place] for place in range(len(prompts))] == expected
    assert len(set(expected)) == 4


def test_closing_a_stream_ends_it(generator: TextGenerator) -> None:
    stream = generator.stream(PROMPT)
    first = [next(stream) for _ in range(5)]
    stream.close()
    assert list(stream) == []
    assert stream.result.reason == "cancelled"
    assert stream.result.text == "".join(first)
    assert generator.cached_tokens == 0


def test_another_thread_may_cancel(generator: TextGenerator) -> None:
    stream = generator.stream(PROMPT, max_new_tokens=120)
    next(stream)
    thread = threading.Thread(target=stream.cancel)
    thread.start()
    thread.join()
    assert "".join(stream) == ""
    assert stream.result.reason == "cancelled"
    two = [generator.stream(PROMPT), generator.stream(PROMPT)]
    for one in two:
        next(one)
    generator.cancel()
    assert [list(one) for one in two] == [[], []]


def test_a_forgotten_stream_gives_everything_back(generator: TextGenerator) -> None:
    stream = generator.stream(PROMPT)
    next(stream)
    assert generator.cached_tokens > 0
    del stream
    gc.collect()
    assert generator.cached_tokens == 0
    assert not generator._controller.residents.is_held_by(threading.get_ident())


def test_closing_ends_streams_that_nobody_reads_on(stories: Path) -> None:
    generator = TextGenerator(stories, threads=1)
    streams = [generator.stream(PROMPT) for _ in range(3)]
    for stream in streams[:2]:
        next(stream)
    start_s = time.perf_counter()
    generator.close()
    assert time.perf_counter() - start_s < 5
    assert list(streams[0]) == []
    assert streams[0].result.reason == "cancelled"
    for ask in (lambda: list(streams[2]), lambda: generator.generate(PROMPT)):
        with pytest.raises(SessionClosed):
            ask()


def test_a_stream_keeps_its_generator(stories: Path) -> None:
    stream = TextGenerator(stories, threads=1).stream(PROMPT, max_new_tokens=30)
    gc.collect()
    assert len("".join(stream)) > 30


@pytest.mark.parametrize("thread", ["", "t = threading.Thread(target=next, args=(s,)); t.start(); t.join()"])
def test_a_script_that_reads_no_stream_to_its_end_ends_quietly(stories: Path, thread: str) -> None:
    code = (
        "import threading\nfrom edgedistill.runtime import TextGenerator\n"
        f"s = TextGenerator({str(stories)!r}).stream('Once')\n{thread or 'next(s)'}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert "Error" not in done.stderr


@pytest.mark.parametrize(
    ("prompt", "options", "says"),
    [
        ("", {}, "the prompt is empty"),
        (" \n", {}, "the prompt is empty"),
        ([], {}, "the prompt has no tokens"),
        ([1, 512], {}, "token 2 of the prompt is 512; expected 0 to 511"),
        ("a big dog " * 100, {}, f"tokens; the model takes {CONTEXT} together with the answer"),
        (PROMPT, {"max_new_tokens": 0}, "max_new_tokens is 0; expected a whole number from 1 on"),
        (PROMPT, {"top_p": 1.5}, "top_p is 1.5"),
        (PROMPT, {"top_k": 0}, "top_k is 0"),
        (PROMPT, {"temperature": -1.0}, "temperature is -1.0"),
        (PROMPT, {"stop": "."}, "stop is one string"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    generator: TextGenerator, prompt: Any, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says) as refused:
        generator.stream(prompt, **options)
    assert "\n" not in str(refused.value)


def test_a_prompt_as_long_as_the_context_leaves_no_room(generator: TextGenerator) -> None:
    with pytest.raises(InputError, match=f"the prompt has {CONTEXT} tokens; the model takes {CONTEXT}"):
        generator.generate([5] * CONTEXT)
    assert len(generator.generate([5] * (CONTEXT - 1)).token_ids) <= 1


@pytest.mark.parametrize(
    "option", [{"min_tokens_per_s": 0.0}, {"max_first_token_ms": -1.0}, {"max_memory_mb": 0.0}, {"threads": 0}]
)
def test_a_budget_out_of_range_is_refused(stories: Path, option: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(option))):
        TextGenerator(stories, **option)


def test_each_palette_has_its_class(stories: Path, tmp_path: Path) -> None:
    for other in (AdaptiveSession, TextClassifier):
        with pytest.raises(PaletteError, match="for text-generation: TextGenerator answers it"):
            other(stories)
    encoder = tiny_palette.write(tmp_path / "palette")
    with pytest.raises(PaletteError, match="is for text-classification: TextClassifier answers it"):
        TextGenerator(encoder)
