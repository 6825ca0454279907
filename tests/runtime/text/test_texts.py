"""What a client may send as texts, to the pipeline of every task: an answer, or one line that says what is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedistill.errors import InputError
from edgedistill.runtime import SentenceEncoder, TextClassifier, TextRegressor, TokenClassifier

Ask = Callable[[Any], Any]
TASKS = {
    "classify": (TextClassifier, "tiny"),
    "predict": (TextRegressor, "numbers"),
    "encode": (SentenceEncoder, "vectors"),
    "tag": (TokenClassifier, "tagged"),
}


@pytest.fixture(params=TASKS, scope="module")
def ask(request: pytest.FixtureRequest) -> Iterator[Ask]:
    make, palette = TASKS[request.param]
    folder: Path = request.getfixturevalue(palette)
    with make(folder, threads=1) as pipeline:
        yield getattr(pipeline, request.param)


@pytest.mark.parametrize(
    "texts",
    [
        ["lamp"],
        ("lamp",),
        np.array(["lamp"]),
        [np.str_("lamp")],
        ["a\0b"],
        ["\u0301"],
        ["\U000e0041"],
        ["x" * 10_000_000],
        ["lamp " * 2_000_000],
        [" " * 10_000_000 + "lamp"],
        ["\U0001f1e9" * 2_000_000],
    ],
    ids=lambda texts: ascii(texts)[:20],
)
def test_texts_are_answered_however_long(ask: Ask, texts: Any) -> None:
    start_s = time.process_time()
    answer = ask(texts)
    assert len(answer.vectors if hasattr(answer, "vectors") else answer) == 1
    assert time.process_time() - start_s < 5


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (None, "texts is a NoneType; expected a list"),
        (3, "texts is a int"),
        (b"lamp", "texts is a bytes"),
        ({"a": 1}, "texts is a dict"),
        (np.array(3), "texts is a ndarray"),
        ("lamp", "texts is one string"),
        (np.str_("lamp"), "texts is one string"),
        ([b"lamp"], "text 1 is a bytes"),
        (["lamp", None], "text 2 is a NoneType"),
        ([True], "text 1 is a bool"),
        ([object()], "text 1 is a object"),
        ([""], "text 1 is empty"),
        ([" \n\t"], "text 1 is empty"),
        (["\ud800"], "text 1 is not valid Unicode"),
        ([{"a": 1}], "text 1 is a dict"),
        ([[["lamp"]]], "text 1 is a list"),
        ([["lamp", b"x"]], "text 1 is a"),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_what_is_not_a_text_is_refused(ask: Ask, texts: Any, says: str) -> None:
    if texts is not None and type(texts) is list and type(texts[0]) is list:
        says = "text 1"  # to a tagger a list of words
    with pytest.raises(InputError, match=says):
        ask(texts)
