from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import plain_answers
import pytest
import tiny_palette
from tokenizers import Tokenizer, normalizers

from edgedistill.errors import InputError, PaletteError
from edgedistill.runtime import Tagged, TokenClassifier


@pytest.fixture(scope="module")
def tagger(tagged: Path) -> Iterator[TokenClassifier]:
    with TokenClassifier(tagged, threads=1) as tagger:
        yield tagger


def found_in(tagged: Tagged) -> list[str]:
    """The entities in short; each must lie where it says."""
    assert all(tagged.text[one.start : one.end] == one.text for one in (*tagged.entities, *tagged.words))
    return [f"{one.label}: {one.text}" for one in tagged.entities]


@pytest.mark.parametrize(
    ("text", "entities"),
    [
        ("turn on the lamp", ["thing: lamp"]),
        ("  turn\n the  lamp  music ,timer", ["thing: lamp  music", "place: timer"]),
        ("lamp lamp", ["thing: lamp", "thing: lamp"]),
        ("lamp,music", ["thing: lamp", "thing: music"]),
        ("lamp timer timer", ["thing: lamp", "place: timer timer"]),
        ("turn on", []),
        (["turn", "lamp", "music"], ["thing: lamp music"]),
        (["the lamp", "music"], ["thing: music"]),
        (("lamp,music", "on"), ["thing: lamp,music"]),
    ],
)
def test_entities_lie_where_they_are_said_to(tagger: TokenClassifier, text: Any, entities: list[str]) -> None:
    """The last but one: a word's tag is that of its first token."""
    (tagged,) = tagger.tag([text])
    assert found_in(tagged) == entities
    assert tagged.text == (text if isinstance(text, str) else " ".join(text))
    assert not tagged.truncated


def test_scores_are_those_of_a_plain_session(tagger: TokenClassifier, tagged: Path) -> None:
    text = "turn on the lamp music"
    (found,) = tagger.tag([text])
    scores = plain_answers.softmax(plain_answers.outputs(tagged, found.subnet, text))[1:-1]  # without [CLS] and [SEP]
    assert [word.tag for word in found.words] == [tiny_palette.TAGS[i] for i in scores.argmax(-1)]
    np.testing.assert_allclose([word.score for word in found.words], scores.max(-1), atol=1e-6)
    assert found.entities[0].score == pytest.approx(scores.max(-1)[3:].mean(), abs=1e-6)
    assert [word.index for word in found.words] == list(range(5))
    assert found.latency_ms > 0


def test_a_word_without_tokens_has_no_tag_and_parts_nothing(tmp_path: Path) -> None:
    """BERT's tokenizer drops characters without width."""
    folder = tiny_palette.write(tmp_path / "palette", tiny_palette.TAGGED)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    tiny_palette.reseal(folder)
    with TokenClassifier(folder, threads=1) as tagger:
        (found,) = tagger.tag([["lamp", "\u200b", "music"]])
    assert found_in(found) == ["thing: lamp \u200b music"]
    assert [word.index for word in found.words] == [0, 2]


def test_more_texts_than_one_batch_keep_their_order(tagger: TokenClassifier) -> None:
    texts = [["lamp"], "turn on the lamp music", "timer"] * 30
    found = [found_in(one) for one in tagger.tag(texts)]
    assert found == [["thing: lamp"], ["thing: lamp music"], ["place: timer"]] * 30
    assert tagger.tag([]) == []


@pytest.mark.parametrize(
    "text",
    ["lamp " * 9000, "lamp," * 9000, " " * 50_000 + "lamp " * 5000, ["lamp"] * 9000, ["lamp", "x" * 100_000]],
    ids=["words", "punctuation", "late words", "a list", "a long word"],
)
def test_what_is_not_read_is_said_to_be_cut_and_not_redacted(tagger: TokenClassifier, text: Any) -> None:
    start_s = time.perf_counter()
    (found,) = tagger.tag([text])
    assert time.perf_counter() - start_s < 2.0
    assert found.truncated
    assert found_in(found)[0] == "thing: lamp"
    assert len(found.words) <= tiny_palette.MAX_TOKENS - 2
    with pytest.raises(InputError, match="tag it in parts"):
        found.redacted()


def test_redacted_texts_keep_all_else(tagger: TokenClassifier) -> None:
    (found,) = tagger.tag(["  turn, the lamp  music; timer!\n"])
    assert found.redacted() == "  turn, the [thing]; [place]!\n"
    assert found.redacted(mask="{label}{}*") == "  turn, the thing{}*; place{}*!\n"
    assert tagger.tag(["turn on"])[0].redacted() == "turn on"


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ("lamp", "texts is one string"),
        ([7], "text 1 is a int; expected a string"),
        (["lamp", " \n"], "text 2 is empty"),
        (["lamp \ud800"], "text 1 is not valid Unicode"),
        ([[]], "text 1 is empty"),
        ([["lamp", ""]], "word 2 of text 1 is empty"),
        ([["lamp", 7]], "word 2 of text 1 is a int"),
        ([["\udfff"]], "word 1 of text 1 is not valid Unicode"),
    ],
)
def test_what_is_no_text_is_refused(tagger: TokenClassifier, texts: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        tagger.tag(texts)


def test_labels_that_are_not_bio_make_an_entity_of_each_word(tmp_path: Path) -> None:
    folder = tiny_palette.write(tmp_path / "palette", tiny_palette.TAGGED)
    tiny_palette.reseal(folder, labels=["X", "NOUN", "VERB", "ADJ"])
    with TokenClassifier(folder, threads=1) as tagger:
        (found,) = tagger.tag(["turn lamp lamp music"])
    assert found_in(found) == ["X: turn", "NOUN: lamp", "NOUN: lamp", "VERB: music"]


def test_a_classifier_s_palette_is_refused(tiny: Path) -> None:
    with pytest.raises(PaletteError, match="TextClassifier answers it"):
        TokenClassifier(tiny)
