"""What a client may send as a prompt or an option: numbers of NumPy are numbers, and all else is refused in a line."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_palette
from tokenizers import Tokenizer

from edgedistill.errors import InputError
from edgedistill.palette import load
from edgedistill.runtime import TextGenerator

PROMPT = "Once upon"


@pytest.fixture(scope="module")
def generator(stories: Path) -> Iterator[TextGenerator]:
    with TextGenerator(stories, threads=1) as generator:
        yield generator


@pytest.mark.parametrize("kind", [tuple, np.array, lambda ids: [np.int64(id_) for id_ in ids], iter])
def test_token_ids_of_any_integer_type_are_a_prompt(generator: TextGenerator, kind: Any) -> None:
    ids = generator.token_ids(PROMPT)
    expected = generator.generate(ids, max_new_tokens=3).token_ids
    assert generator.generate(kind(ids), max_new_tokens=3).token_ids == expected


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.array, lambda ids: range(ids[0], ids[0] + 1)])
def test_so_are_small_types_and_ranges(generator: TextGenerator, kind: Any) -> None:
    prompt = kind([5]) if kind not in (np.uint8, np.int32) else [kind(5)]
    assert generator.generate(prompt, max_new_tokens=2).token_ids == generator.generate([5], max_new_tokens=2).token_ids


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        (None, "the prompt is a NoneType"),
        (3, "the prompt is a int"),
        (b"x", "the prompt is a bytes"),
        ({1: 2}, "the prompt is a dict"),
        (np.array(3), "the prompt is a ndarray"),
        (object(), "the prompt is a object"),
        ([], "has no tokens"),
        (np.array([], int), "has no tokens"),
        ("", "the prompt is empty"),
        ("\ud800", "the prompt is not valid Unicode"),
        ([True], "token 1 of the prompt is True"),
        ([np.bool_(True)], "token 1 of the prompt is"),
        ([1.0], "token 1 of the prompt is 1.0"),
        ([1, "a"], "token 2 of the prompt is 'a'"),
        ([-1], "token 1 of the prompt is -1"),
        ([10**30], "token 1 of the prompt is 10"),
        (np.array([1.5]), "token 1 of the prompt is"),
        (np.array([[1, 2]]), "token 1 of the prompt is"),
        ([math.nan], "token 1 of the prompt is nan"),
        ([1] * 1_000_000, "the prompt has 1000000 tokens"),
    ],
)
def test_what_is_not_a_prompt_is_refused(generator: TextGenerator, prompt: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        generator.generate(prompt)


def test_a_text_with_a_token_that_the_model_does_not_have_is_refused(stories: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(stories, tmp_path / "palette"))
    path = str(folder / load(folder).manifest.text_input.tokenizer.file)
    tokenizer = Tokenizer.from_file(path)
    tokenizer.add_tokens(["zq3"])
    tokenizer.save(path)
    with TextGenerator(tiny_palette.reseal(folder), threads=1) as generator:
        with pytest.raises(InputError, match="of the prompt is 512; expected 0 to 511"):
            generator.generate("the zq3")
        assert generator.generate("the", max_new_tokens=1).token_ids


@pytest.mark.parametrize("text", ["x" * 10_000_000, "lamp " * 2_000_000])
def test_a_huge_prompt_is_refused_before_all_of_it_is_encoded(generator: TextGenerator, text: str) -> None:
    """Encoding ten megabytes takes most of a minute."""
    start_s = time.process_time()
    with pytest.raises(InputError, match="the prompt has more than"):
        generator.generate(text)
    assert time.process_time() - start_s < 5


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "options",
    [
        {"max_new_tokens": np.int64(2)},
        {"temperature": np.float32(0.5), "seed": np.int64(3), "top_k": np.int32(4), "top_p": np.float64(0.5)},
        {"temperature": 1, "top_p": 1},
        {"temperature": 1e308, "seed": 1},
        {"temperature": 1.0, "seed": 10**40, "top_k": 10**40},
        {"stop": ("zz",)},
        {"stop": np.array(["zz"])},
    ],
)
def test_numbers_of_every_type_are_options(generator: TextGenerator, options: dict[str, Any]) -> None:
    assert len(generator.generate(PROMPT, **({"max_new_tokens": 2} | options)).token_ids) == 2


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("temperature", [0, -0.0, 5e-324, 1e-320, 1e-300, 1e-9, np.float32(1e-40)])
def test_almost_no_temperature_is_none(generator: TextGenerator, temperature: float) -> None:
    likeliest = generator.generate(PROMPT, max_new_tokens=8).token_ids
    assert generator.generate(PROMPT, max_new_tokens=8, temperature=temperature, seed=1).token_ids == likeliest


WRONG: dict[str, list[Any]] = {
    "max_new_tokens": [None, 0, -1, True, 3.0, 2.5, "3", math.nan, math.inf, np.array([3]), np.float64(3), [], b"x"],
    "temperature": [None, -1, True, "1", math.nan, math.inf, 10**400, np.array([1.0]), [], object(), 1j],
    "top_k": [0, -1, True, 3.0, "3", math.nan, np.array([3]), [], object()],
    "top_p": [0, -1, 1.1, True, "1", math.nan, math.inf, 10**400, np.array([0.5]), []],
    "seed": [-1, True, 3.0, "3", math.nan, np.array([3]), []],
    "stop": [None, 3, "a", [""], [None], {"a": 1}, b"x", [b"x"], np.array(3), np.array([1])],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_what_is_not_an_option_is_refused_by_its_name(generator: TextGenerator, name: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"^({name}|a {name} string) is ") as raised:
        generator.stream(PROMPT, **{name: value})
    assert "expected" in str(raised.value)
