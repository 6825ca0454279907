from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny_palette
from tokenizers import Tokenizer

from edgedistill.errors import InputError, PaletteError, SessionClosed
from edgedistill.manifest import MANIFEST_NAME, load, write_atomically
from edgedistill.runtime import AdaptiveSession, TextClassifier
from edgedistill.runtime.onnx import create_session


@pytest.fixture(scope="module")
def classifier(tiny: Path) -> Iterator[TextClassifier]:
    with TextClassifier(tiny, threads=1) as classifier:
        yield classifier


def expected(folder: Path, text: str, subnet: str) -> tuple[str, float]:
    """The answer by the plain way: all of the text tokenised, then cut, on a plain session."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(tiny_palette.MAX_TOKENS)
    ids = np.array([tokenizer.encode(text).ids])
    session = create_session(folder / f"{subnet}.onnx", 1)
    (logits,) = session.run(["logits"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    powers = np.exp(logits[0])
    return tiny_palette.LABELS[int(logits.argmax())], float((powers / powers.sum()).max())


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


def reseal(folder: Path, **changes: object) -> Path:
    """Write the manifest again with changes, and with the file sizes and hashes as they are now."""
    manifest = load(folder).manifest.model_copy(update=changes)
    files = [tiny_palette._file(folder / entry.name) for entry in manifest.files]
    manifest = manifest.model_copy(update={"files": files}).sealed()
    write_atomically(folder / MANIFEST_NAME, manifest.model_dump(mode="json"))
    return folder


def test_a_broken_tokenizer_is_told(tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "palette"))
    path = folder / "tokenizer.json"
    path.write_text("{" + " " * (path.stat().st_size - 1))
    with pytest.raises(PaletteError, match="is no tokenizer"):
        TextClassifier(reseal(folder))


def test_an_input_that_a_text_does_not_give_is_told(tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "palette"))
    inputs = load(folder).manifest.inputs
    with pytest.raises(PaletteError, match="'pixels'"):
        TextClassifier(reseal(folder, inputs=[inputs[0].model_copy(update={"name": "pixels"})]))


def test_a_palette_for_another_task_is_refused(tiny: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "palette")
    with pytest.raises(PaletteError, match=r"is for text-regression; a text classifier needs .* AdaptiveSession\.run"):
        TextClassifier(reseal(folder, task="text-regression"))
