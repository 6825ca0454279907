"""What the classes of all tasks share."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_palette
from tokenizers import Tokenizer

from edgedistill.errors import InputError, RunError
from edgedistill.palette import Palette, load
from edgedistill.runtime import AdaptiveSession, SentenceEncoder, TextClassifier, TextRegressor, TokenClassifier
from edgedistill.runtime.text import pipeline
from edgedistill.runtime.text.pipeline import countdown

KINDS: dict[str, tuple[tiny_palette.Kind, Callable[..., str]]] = {
    "classify": (tiny_palette.LABELLED, lambda session, **o: TextClassifier(session).classify(["lamp"], **o)[0].subnet),
    "predict": (tiny_palette.NUMBERS, lambda session, **o: TextRegressor(session).predict(["lamp"], **o)[0].subnet),
    "tag": (tiny_palette.TAGGED, lambda session, **o: TokenClassifier(session).tag(["lamp"], **o)[0].subnet),
    "encode": (tiny_palette.VECTORS, lambda session, **o: SentenceEncoder(session).encode(["lamp"], **o).subnets[0]),
}


def profiled(folder: Path) -> Palette:
    palette = load(folder)
    return Palette(palette.folder, palette.manifest, {"here": tiny_palette.profile(palette.manifest, name="here")})


@pytest.mark.parametrize("method", KINDS)
def test_what_the_live_subnet_would_be_late_with_goes_to_the_smallest(tmp_path: Path, method: str) -> None:
    kind, subnet_of = KINDS[method]
    palette = profiled(tiny_palette.write(tmp_path / "palette", kind))
    with AdaptiveSession(palette, profile="here", threads=1, interval_s=0.01) as session:
        end_s = time.perf_counter() + 20
        while subnet_of(session, deadline_ms=1e-4) != "small":  # once it is in memory
            assert time.perf_counter() < end_s
        assert subnet_of(session, deadline_ms=1e4) == "large"
        assert subnet_of(session) == "large"


def test_a_deadline_runs_from_the_call_on() -> None:
    left_ms = countdown(50.0)
    first = left_ms()
    time.sleep(0.06)
    last = left_ms()
    assert first is not None
    assert last is not None
    assert 0 < first <= 50
    assert last < 0
    assert countdown(None)() is None


def test_later_runs_of_a_call_have_what_the_first_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "_BATCH", 1)
    given: list[float | None] = []
    with TextClassifier(tiny_palette.write(tmp_path / "palette"), threads=1) as classifier:
        answer = classifier.session.answer

        def listened(*arguments: Any, deadline_ms: float | None) -> Any:
            given.append(deadline_ms)
            return answer(*arguments, deadline_ms=deadline_ms)

        monkeypatch.setattr(classifier.session, "answer", listened)
        classifier.classify(["lamp"] * 3, deadline_ms=1000)
    known = [left_ms for left_ms in given if left_ms is not None]
    assert len(known) == 3
    assert 1000 > known[0] > known[1] > known[2]


@pytest.mark.parametrize(
    ("make", "kind", "method"),
    [
        (TextClassifier, tiny_palette.LABELLED, "classify"),
        (TextRegressor, tiny_palette.NUMBERS, "predict"),
        (SentenceEncoder, tiny_palette.VECTORS, "encode"),
        (TokenClassifier, tiny_palette.TAGGED, "tag"),
    ],
)
def test_a_token_without_a_row_is_blamed_on_its_text(tmp_path: Path, make: Any, kind: Any, method: str) -> None:
    folder = tiny_palette.write(tmp_path / "palette", kind)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens(["zq3"])
    tokenizer.save(str(folder / "tokenizer.json"))
    with make(tiny_palette.reseal(folder), threads=1) as pipeline:
        ask = getattr(pipeline, method)
        with pytest.raises(InputError, match=r"text 35 makes the model fail.*leave it out"):
            ask(["lamp"] * 34 + ["the zq3"] + ["lamp"] * 3)
        with pytest.raises(InputError, match="text 1 makes the model fail"):
            ask(["zq3"])
        ask(["lamp"] * 40)


def test_a_graph_that_answers_in_another_shape_is_refused(tmp_path: Path) -> None:
    """The manifest says so many numbers, and another task's graph gives more."""
    folder = tiny_palette.write(tmp_path / "numbers", tiny_palette.NUMBERS)
    for file in ("large.onnx", "middle.onnx", "small.onnx", "weights.bin"):
        shutil.copy(tiny_palette.write(tmp_path / file, tiny_palette.LABELLED) / file, folder / file)
    tiny_palette.reseal(folder)
    with TextRegressor(folder) as regressor, pytest.raises(RunError, match=r"in the shape \(1, 3\), expected \(1, 1\)"):
        regressor.predict(["turn on"])
