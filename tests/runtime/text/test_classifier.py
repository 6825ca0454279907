from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plain_answers
import pytest
import tiny_palette
from tokenizers import Tokenizer

from edgedistill.errors import InputError, PaletteError, SessionClosed
from edgedistill.palette import load
from edgedistill.runtime import AdaptiveSession, TextClassifier


@pytest.fixture(scope="module")
def classifier(tiny: Path) -> Iterator[TextClassifier]:
    with TextClassifier(tiny, threads=1) as classifier:
        yield classifier


def expected(folder: Path, text: str, subnet: str, second: str | None = None) -> tuple[str, float]:
    """The answer by the plain way."""
    logits = plain_answers.outputs(folder, subnet, text, second)
    return tiny_palette.LABELS[int(logits.argmax())], float(plain_answers.softmax(logits).max())


def test_labels_are_those_of_a_plain_session(classifier: TextClassifier, tiny: Path) -> None:
    texts = ["turn on the lamp", "play some music", "set a timer please", "lamp"]
    for text, label in zip(texts, classifier.classify(texts), strict=True):
        name, score = expected(tiny, text, label.subnet)
        assert (label.label, label.score) == (name, pytest.approx(score, abs=1e-6))
        assert not label.truncated
        assert label.latency_ms > 0


def test_more_texts_than_one_batch_keep_their_order(classifier: TextClassifier) -> None:
    texts = ["turn on the lamp", "play some music"] * 40
    labels = classifier.classify(texts)
    alone = [classifier.classify([text])[0].label for text in texts[:2]]
    assert [label.label for label in labels] == alone * 40


def test_no_texts_no_labels(classifier: TextClassifier) -> None:
    assert classifier.classify([]) == []


@pytest.mark.parametrize(
    "text",
    [
        "lamp music timer " * 6000,
        " " * 50_000 + "lamp " * 10_000,
        "play" + " " * 100_000,
        ", ".join(["set a timer"] * 9000),
    ],
    ids=["words", "late words", "few words", "punctuation"],
)
def test_a_very_long_text_is_answered_as_if_all_of_it_were_read(
    classifier: TextClassifier, tiny: Path, text: str
) -> None:
    start_s = time.perf_counter()
    (label,) = classifier.classify([text])
    assert time.perf_counter() - start_s < 2.0
    name, score = expected(tiny, text, label.subnet)
    assert (label.label, label.score) == (name, pytest.approx(score, abs=1e-6))
    tokenizer = Tokenizer.from_file(str(tiny / "tokenizer.json"))
    assert label.truncated == (len(tokenizer.encode(text).ids) > tiny_palette.MAX_TOKENS)


@pytest.mark.parametrize("text", ["x" * 100_000, "lamp " * 10 + "x" * 100_000], ids=["one word", "one long word"])
def test_what_lies_beyond_the_longest_read_is_said_to_be_cut(classifier: TextClassifier, text: str) -> None:
    (label,) = classifier.classify([text])
    assert label.truncated


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "\u2003"])
def test_an_empty_text_is_refused_with_its_place(classifier: TextClassifier, text: str) -> None:
    with pytest.raises(InputError, match="text 2 is empty"):
        classifier.classify(["lamp", text])


def test_what_is_no_text_is_refused(classifier: TextClassifier) -> None:
    with pytest.raises(InputError, match="text 1 is a int"):
        classifier.classify([7])  # type: ignore[list-item]
    with pytest.raises(InputError, match="half a surrogate pair"):
        classifier.classify(["lamp \ud800"])


def test_a_given_session_stays_open(tiny: Path) -> None:
    with AdaptiveSession(tiny, threads=1) as session:
        with TextClassifier(session) as classifier:
            classifier.classify(["lamp"])
        assert session.active in tiny_palette.WIDTHS


def test_an_own_session_closes_with_it(tiny: Path) -> None:
    classifier = TextClassifier(tiny, threads=1)
    classifier.close()
    with pytest.raises(SessionClosed):
        classifier.classify(["lamp"])


def test_a_broken_tokenizer_is_told(tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "palette"))
    path = folder / "tokenizer.json"
    path.write_text("{" + " " * (path.stat().st_size - 1))
    with pytest.raises(PaletteError, match="is not a tokenizer"):
        TextClassifier(tiny_palette.reseal(folder))


def test_an_input_that_a_text_does_not_give_is_told(tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "palette"))
    inputs = load(folder).manifest.graph_inputs
    with pytest.raises(PaletteError, match="'pixels'"):
        TextClassifier(tiny_palette.reseal(folder, graph_inputs=[inputs[0].model_copy(update={"name": "pixels"})]))


@pytest.mark.parametrize(
    ("task", "answers"),
    [
        ("text-regression", "TextRegressor"),
        ("token-classification", "TokenClassifier"),
        ("sentence-embedding", "SentenceEncoder"),
    ],
)
def test_a_palette_for_another_task_is_refused(tiny: Path, tmp_path: Path, task: str, answers: str) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "palette"))
    with pytest.raises(PaletteError, match=f"is for {task}: {answers} answers it"):
        TextClassifier(tiny_palette.reseal(folder, task=task))


def test_options_beside_an_open_session_are_refused(tiny: Path) -> None:
    with AdaptiveSession(tiny, threads=1) as session:
        with pytest.raises(InputError, match="open already; give threads, profile to it"):
            TextClassifier(session, threads=1, profile="pi5")
        assert TextClassifier(session).classify(["lamp"])


def test_pairs_are_labelled_as_by_a_plain_session(pairs: Path) -> None:
    texts = [("turn on the lamp", "play music"), ("play music", "turn on the lamp"), ("lamp", "lamp " * 40)]
    with TextClassifier(pairs, threads=1) as classifier:
        found = classifier.classify(texts)
        assert classifier.classify([list(two) for two in texts])[0].score == found[0].score  # type: ignore[misc]
    for (first, second), label in zip(texts, found, strict=True):
        name, score = expected(pairs, first, label.subnet, second)
        assert (label.label, label.score) == (name, pytest.approx(score, abs=1e-6))
    assert found[0].score != pytest.approx(found[1].score, abs=1e-3)
    assert [label.truncated for label in found] == [False, False, True]


def test_a_very_long_text_of_a_pair_is_said_to_be_cut(pairs: Path) -> None:
    with TextClassifier(pairs, threads=1) as classifier:
        found = classifier.classify([("lamp", "x" * 100_000), ("x" * 100_000, "lamp"), (" " * 100_000 + "lamp", "on")])
    assert [label.truncated for label in found] == [True, True, False]


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["lamp"], "text 1 is not a pair"),
        (["on"], "text 1 is not a pair"),
        ([("lamp", "on"), ("lamp",)], "text 2 is not a pair"),
        ([("lamp", "on", "the")], "text 1 is not a pair"),
        ([("lamp", 7)], "the second text of pair 1 is a int"),
        ([("  ", "lamp")], "the first text of pair 1 is empty"),
        ([("lamp", "\ud800")], "the second text of pair 1 is not valid Unicode"),
        ("lamp", "texts is one string"),
    ],
)
def test_what_is_no_pair_is_refused(pairs: Path, texts: list[Any], says: str) -> None:
    with TextClassifier(pairs, threads=1) as classifier, pytest.raises(InputError, match=says):
        classifier.classify(texts)


def test_what_is_no_single_text_is_refused(classifier: TextClassifier) -> None:
    with pytest.raises(InputError, match="text 2 is a tuple; expected a string"):
        classifier.classify(["lamp", ("a", "b")])  # type: ignore[list-item]
    with pytest.raises(InputError, match="texts is one string"):
        classifier.classify("lamp")


def test_a_palette_in_the_place_of_the_first_is_calibrated_by_itself(tmp_path: Path) -> None:
    folder = tiny_palette.calibrate(tiny_palette.write(tmp_path / "palette"))
    entries = load(folder).manifest.subnets
    hot = [
        entry.model_copy(update={"calibration": entry.calibration.model_copy(update={"temperature": 9.0})})
        for entry in entries
        if entry.calibration is not None
    ]
    with AdaptiveSession(folder, threads=1, interval_s=0.05) as session:
        first, classifier = session.palette, TextClassifier(session)
        (before,) = classifier.classify(["lamp"])
        tiny_palette.reseal(folder, subnets=hot)
        end_s = time.perf_counter() + 30
        while session.palette is first:
            assert time.perf_counter() < end_s
            time.sleep(0.01)
        (after,) = classifier.classify(["lamp"])
    scores = plain_answers.softmax(plain_answers.outputs(folder, after.subnet, "lamp") / 9.0)
    assert after.score == pytest.approx(scores.max(), abs=1e-6)
    assert after.score < before.score
