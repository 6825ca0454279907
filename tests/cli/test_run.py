"""``run`` for a palette of every task: what it prints for people and for machines, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_palette
from commands import invoke, one_line
from tiny_palette import LABEL_SETS, LABELLED, NUMBERS, PAIRS, TAGGED, VECTORS, Kind
from tokenizers import Tokenizer, normalizers


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, Path]:
    root = tmp_path_factory.mktemp("palettes")
    kinds = (LABELLED, PAIRS, LABEL_SETS, NUMBERS, TAGGED, VECTORS)
    return {kind: tiny_palette.write(root / str(place), kind) for place, kind in enumerate(kinds)}


def records(*arguments: object, stdin: str | None = None, code: int = 0) -> list[dict[str, Any]]:
    done = invoke("run", *arguments, stdin=stdin)
    assert done.exit_code == code, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("kind", "given", "answer"),
    [
        (LABELLED, ["lamp"], {"label", "score"}),
        (PAIRS, ["--pair", "lamp", "play"], {"label", "score"}),
        (LABEL_SETS, ["lamp"], {"labels"}),
        (NUMBERS, ["lamp"], {"value"}),
        (TAGGED, ["turn on the lamp music"], {"entities"}),
        (VECTORS, ["lamp"], {"vector"}),
    ],
)
def test_a_record_of_every_task(folders: dict[Kind, Path], kind: Kind, given: list[str], answer: set[str]) -> None:
    (record,) = records(folders[kind], *given, "--json")
    assert set(record) == {"text", "subnet", "latency_ms"} | answer
    texts = [word for word in given if word != "--pair"]
    assert record["text"] == (texts if kind is PAIRS else texts[0])
    if kind is TAGGED:
        (entity,) = record["entities"]
        assert (entity["label"], entity["text"], entity["start"], entity["end"]) == ("thing", "lamp music", 12, 22)
    if kind is VECTORS:
        assert sum(number**2 for number in record["vector"]) == pytest.approx(1, abs=1e-5)


def test_a_line_that_the_model_fails_at_takes_no_other_with_it(tmp_path: Path) -> None:
    folder = tiny_palette.write(tmp_path / "palette", LABELLED)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens(["zq3"])  # which the embedding table has no row for
    tokenizer.save(str(folder / "tokenizer.json"))
    lines = "".join(json.dumps({"text": text}) + "\n" for text in ("lamp", "the zq3", "music"))
    found = records(tiny_palette.reseal(folder), stdin=lines, code=1)
    assert ["error" in record for record in found] == [False, True, False]
    assert "text 1 makes the model fail" in found[1]["error"]


def test_a_record_lists_what_was_not_read(tmp_path: Path) -> None:
    folder = tiny_palette.write(tmp_path / "palette", TAGGED)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    (record,) = records(tiny_palette.reseal(folder), "the \ue000\ue001 lamp", "--json")
    assert record["unread"] == [[4, 6]]
    assert "read in part" in invoke("run", folder, "the \ue000 lamp").stdout


@pytest.mark.parametrize(
    ("kind", "given", "shown"),
    [
        (LABELLED, ["lamp", "[/b] music"], ["lamp", "[/b] music", "%"]),
        (PAIRS, ["--pair", "lamp", "play", "on", "the"], ["lamp | play", "on | the", "%"]),
        (NUMBERS, ["lamp"], ["."]),
        (TAGGED, ["turn on the lamp", "turn"], ["thing: lamp", "no entities"]),
        (VECTORS, ["lamp " * 40], ["3 numbers from ", "read in part"]),
    ],
)
def test_a_table_of_every_task(folders: dict[Kind, Path], kind: Kind, given: list[str], shown: list[str]) -> None:
    done = invoke("run", folders[kind], *given)
    assert done.exit_code == 0, done.output
    for words in shown:
        assert words in done.stdout


def test_standard_input_takes_texts_pairs_and_words(folders: dict[Kind, Path]) -> None:
    (pair,) = records(folders[PAIRS], stdin='{"text": ["lamp", "play"]}\n')
    assert pair["text"] == ["lamp", "play"]
    found = records(folders[TAGGED], stdin='{"text": ["the", "lamp"]}\n\n{"text": "the lamp"}\n')
    assert [[one["text"] for one in record["entities"]] for record in found] == [["lamp"], ["lamp"]]
    (cut,) = records(folders[VECTORS], stdin=json.dumps({"text": "lamp " * 40}))
    assert cut["truncated"] is True


@pytest.mark.parametrize(
    ("kind", "line", "says"),
    [
        (LABELLED, "no json", "not a JSON line"),
        (LABELLED, '["lamp"]', 'expected an object with a "text"'),
        (LABELLED, '{"text": 7}', 'expected an object with a "text"'),
        (LABELLED, '{"text": ["a", "b"]}', "text 1 is a list; expected a string"),
        (LABELLED, '{"text": "\\ud800"}', "not valid Unicode"),
        (PAIRS, '{"text": "lamp"}', "text 1 is not a pair"),
        (PAIRS, '{"text": ["lamp", ""]}', "the second text of pair 1 is empty"),
        (TAGGED, '{"text": ["lamp", 7]}', "word 2 of text 1 is a int"),
        (VECTORS, '{"text": " "}', "text 1 is empty"),
    ],
)
def test_a_bad_line_is_told_and_the_next_is_answered(
    folders: dict[Kind, Path], kind: Kind, line: str, says: str
) -> None:
    good = json.dumps({"text": ["lamp", "on"] if kind is PAIRS else "lamp"})
    bad, answered = records(folders[kind], stdin=f"{line}\n{good}\n", code=1)
    assert says in bad["error"]
    assert "error" not in answered


def test_a_line_that_is_no_utf8_is_told(folders: dict[Kind, Path]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgedistill", "run", folders[LABELLED]],
        input=b'{"text": "caf\xe9"}\n{"text": "lamp"}\n',
        capture_output=True,
        check=False,
    )
    bad, answered = (json.loads(line) for line in done.stdout.splitlines())
    assert done.returncode == 1
    assert "not valid Unicode" in bad["error"]
    assert "label" in answered


@pytest.mark.parametrize(
    ("kind", "given", "says"),
    [
        (LABELLED, ["--pair", "a", "b"], "of single texts; leave out --pair"),
        (PAIRS, ["a", "b"], "of pairs; give --pair"),
        (PAIRS, ["--pair", "a", "b", "c"], "two texts for each pair; these are 3"),
        (PAIRS, ["--pair"], "these are 0"),
        (TAGGED, ["a", "--false-accept-rate", "0.5"], "--false-accept-rate is for labels of texts"),
        (LABELLED, ["a", "--false-accept-rate", "0.5"], "--out-of-scope"),
    ],
)
def test_what_does_not_go_together_is_refused(
    folders: dict[Kind, Path], kind: Kind, given: list[str], says: str
) -> None:
    one_line(invoke("run", folders[kind], *given), says)


def test_an_answer_that_is_not_accepted_is_marked(tmp_path: Path) -> None:
    folder = tiny_palette.calibrate(tiny_palette.write(tmp_path / "palette"))
    (record,) = records(folder, "lamp", "--false-accept-rate", "0", "--json")
    assert record["accepted"] is False
    assert "not accepted" in invoke("run", folder, "lamp", "--false-accept-rate", "0").stdout


def test_the_help_has_an_example() -> None:
    assert "Example: edgedistill run palette" in invoke("run", "--help").stdout
