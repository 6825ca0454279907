"""Reading a user's data: what is read, what is cut from train, what is refused and how that is said."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from edgedistill.data.dataset import Columns, TaskData
from edgedistill.data.readers import load_data, load_unlabelled
from edgedistill.errors import DataError

ROWS = [
    {"text": f"{verb} number {i}", "label": label}
    for label, verb in (("on", "start"), ("off", "stop"))
    for i in range(30)
]


def _load(folder: str | Path, **options: Any) -> TaskData:
    return load_data(folder, "text-classification", **options)


def _write(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json"])
def test_three_files_are_read_in_order(tmp_path: Path, suffix: str) -> None:
    for split, count in (("train", 60), ("validation", 7), ("test", 9)):
        _write(tmp_path / "data", f"{split}.{suffix}", ROWS[:2] + ROWS[-count + 2 :])
    (tmp_path / "data" / "LICENSE").write_text("ours")
    data = _load(tmp_path / "data")
    assert [len(s.texts) for s in (data.train, data.validation, data.test)] == [60, 7, 9]
    assert data.label_names == ("off", "on")
    assert data.train.texts[0] == "start number 0"
    assert data.label_names[data.train.labels[0]] == "on"


def test_columns_by_name_and_labels_that_are_numbers(tmp_path: Path) -> None:
    rows = [{"utterance": r["text"], "intent": "01"[r["label"] == "on"]} for r in ROWS]
    data = _load(_write(tmp_path, "train.csv", rows), text_columns=["utterance"], label_column="intent")
    assert data.label_names == ("0", "1")
    assert data.columns == Columns(("utterance",), "intent")


def test_what_is_missing_is_cut_from_train_the_same_each_time(tmp_path: Path) -> None:
    folder = _write(tmp_path, "train.jsonl", ROWS + ROWS[:5])
    data, again = _load(folder), _load(folder)
    assert data == again
    splits = [set(s.texts) for s in (data.train, data.validation, data.test)]
    assert sum(map(len, splits)) == len(set.union(*splits)) == 60  # deduplicated, and nothing twice
    assert [len(s) for s in splits] == [48, 6, 6]
    assert sorted(data.test.labels) == [0, 0, 0, 1, 1, 1]  # stratified


def test_without_test_the_published_validation_reports(tmp_path: Path) -> None:
    _write(tmp_path, "train.jsonl", ROWS)
    data = _load(_write(tmp_path, "validation.jsonl", ROWS[:4] + ROWS[-4:]))
    assert len(data.test.texts) == 8
    assert not set(data.validation.texts) & set(data.train.texts)


def test_the_hash_follows_the_content(tmp_path: Path) -> None:
    first = _load(_write(tmp_path / "a", "train.jsonl", ROWS)).sha256
    same = _load(_write(tmp_path / "b", "train.csv", ROWS)).sha256
    other = _load(_write(tmp_path / "c", "train.jsonl", ROWS[1:])).sha256
    assert first == same != other


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty"),
        ('{"text": "a", "label": "b"}\nnonsense\n', "line 2 is not JSON"),
        ("[1, 2]\n", "row 1 is not a JSON object"),
        ('{"text": "", "label": "b"}\n', "line 1 has no text"),
        ('{"text": ["a"], "label": "b"}\n', r"line 1 has the text \['a'\], a list; expected a string"),
        ('{"text": "a", "label": null}\n', "line 1 has no label"),
        ('{"text": "a", "label": 1.5}\n', "line 1 has the label 1.5; expected a name or a whole number"),
        ('{"text": "a", "label": ["b"]}\n', r"line 1 has the label \['b'\]; expected a name"),
        ('{"text": "a\\ud800", "label": "b"}\n', "line 1 has a text that no UTF-8 can hold"),
        ('{"text": "a", "label": "\\ud800"}\n', "line 1 has a label that no UTF-8 can hold"),
        ('{"text": "a\\u0000", "label": "b"}\n', "line 1 has a text with a NUL character"),
        ('{"text": "a"}\n{"text": "b", "label": "c"}\n', "line 1 has no label"),
        ('{"text": "a", "label": "b", "text": "c"}\n', "the key 'text' is there twice"),
        ('{"words": "a", "label": "b"}\n', "no column 'text'; it has 'words', 'label'"),
        ('{"text": "a", "label": "b"}\n' * 9, "expected at least two labels"),
        ('{"text": "a", "label": "b"}\n{"text": "c", "label": "d"}\n', "too few"),
    ],
)
def test_bad_rows_are_told_by_their_place(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "train.jsonl").write_text(content)
    with pytest.raises(DataError, match=says) as caught:
        _load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_csv_with_a_header_alone_is_empty(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\n")
    with pytest.raises(DataError, match="empty"):
        _load(tmp_path)


def test_csv_fields_are_taken_as_they_stand(tmp_path: Path) -> None:
    rows = [{"text": text, "label": label} for text, label in (("null", "01"), ("NA", "1"), ("7", "01"))] * 3
    rows += [{"text": f"{row['text']} {i}", "label": row["label"]} for i in range(5) for row in rows[:3]]
    data = _load(_write(tmp_path, "train.csv", rows))
    assert data.label_names == ("01", "1")
    assert {"null", "NA", "7"} <= {*data.train.texts, *data.validation.texts, *data.test.texts}


@pytest.mark.parametrize("name", ["train.csv", "train.jsonl"])
def test_a_byte_order_mark_is_no_part_of_a_column(tmp_path: Path, name: str) -> None:
    path = _write(tmp_path, name, ROWS) / name
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert _load(tmp_path).label_names == ("off", "on")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"text,label\na,b\nstart, then stop,c\n", "line 3 has 3 fields divided by commas; expected 2"),
        (b"text,label\nalone\n", "line 2 has 1 fields divided by commas; expected 2"),
        (b'text,label\n"never closed,b\n', "line 2: not CSV"),
        (b"text,text\na,b\n", "two columns of the same name"),
        (b"text,label\nna\xefve,b\n", "cannot be read.*UTF-8"),
    ],
)
def test_a_damaged_csv_is_told_by_its_line(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "train.csv").write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        _load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_label_that_train_has_not(tmp_path: Path) -> None:
    _write(tmp_path, "train.jsonl", ROWS)
    _write(tmp_path, "validation.jsonl", ROWS)
    with pytest.raises(DataError, match="test has the label 'dim', which train has not"):
        _load(_write(tmp_path, "test.jsonl", [{"text": "lower", "label": "dim"}]))


@pytest.mark.parametrize("source", ["./nowhere", "/nowhere/at/all"])
def test_no_folder(source: str) -> None:
    with pytest.raises(DataError, match="not a folder"):
        _load(source)


def test_no_train_file_and_two_of_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no train file"):
        _load(_write(tmp_path, "test.jsonl", ROWS))
    _write(tmp_path, "train.jsonl", ROWS)
    with pytest.raises(DataError, match=r"both train\.csv and train\.jsonl"):
        _load(_write(tmp_path, "train.csv", ROWS))


def test_texts_stay_as_they_are_written(tmp_path: Path) -> None:
    texts = ["2020-01-01", "a\u2028line of its own", " padded "]
    rows = [{"text": text, "label": label} for text in texts for label in "xy"]
    for split in ("train", "validation", "test"):
        _write(tmp_path, f"{split}.jsonl", rows)
    assert set(_load(tmp_path).train.texts) == set(texts)


def test_a_models_labels_keep_their_order_and_are_all_there_are(tmp_path: Path) -> None:
    folder = _write(tmp_path, "train.jsonl", ROWS)
    data = _load(folder, label_names=["on", "unused", "off"])
    assert data.label_names == ("on", "unused", "off")
    assert set(data.train.labels or ()) == {0, 2}
    with pytest.raises(DataError, match="has the label 'off', which the model has not; it has on, dim"):
        _load(folder, label_names=["on", "dim"])


PAIRS = [{"sentence1": f"a {i}", "sentence2": f"b {i % 7}", "label": i / 10} for i in range(40)]
PAIR = ("sentence1", "sentence2")


def test_pairs_with_numbers(tmp_path: Path) -> None:
    _write(tmp_path, "train.csv", PAIRS)
    data = load_data(_write(tmp_path, "validation.jsonl", PAIRS[:5]), "text-regression", text_columns=PAIR)
    assert data.label_names == ()
    assert data.test.texts[1] == ("a 1", "b 1")
    assert data.test.labels == (0.0, 0.1, 0.2, 0.3, 0.4)
    assert [len(s.texts) for s in (data.train, data.validation)] == [38, 2]
    assert data == load_data(tmp_path, "text-regression", text_columns=PAIR)


@pytest.mark.parametrize("label", ["warm", "nan", "inf", "", None, True])
def test_a_label_that_is_no_finite_number(tmp_path: Path, label: object) -> None:
    rows = [*PAIRS, {**PAIRS[0], "label": label}]
    with pytest.raises(DataError, match=r"line 41 has the label .*; expected a finite number"):
        load_data(_write(tmp_path, "train.jsonl", rows), "text-regression", text_columns=PAIR)


WORDS = [
    {"tokens": ["fly", "to", city, "Baltimore"], "tags": ["O", "O", "B-city", "I-city"]} for city in "ABCDEFGHIJKLMNOP"
]


def _load_words(folder: Path) -> TaskData:
    return load_data(folder, "token-classification", text_columns=["tokens"], label_column="tags")


def test_words_and_tags_as_lists_or_with_blanks_between(tmp_path: Path) -> None:
    rows = [{column: " ".join(values) for column, values in row.items()} for row in WORDS]
    lists, strings = (
        _load_words(_write(tmp_path / "a", "train.jsonl", WORDS)),
        _write(tmp_path / "b", "train.csv", rows),
    )
    assert lists.label_names == ("B-city", "I-city", "O")
    assert all(text[:2] == ("fly", "to") for text in lists.train.texts)
    assert set(lists.train.labels or ()) == {(2, 2, 0, 1)}
    assert _load_words(strings).sha256 == lists.sha256


def test_a_rare_tag_of_test_alone_comes_after_trains(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        _write(tmp_path, f"{split}.jsonl", WORDS)
    data = _load_words(_write(tmp_path, "test.jsonl", [{"tokens": ["now"], "tags": ["B-airline"]}]))
    assert data.label_names == ("B-city", "I-city", "O", "B-airline")
    assert data.test.labels == ((3,),)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"tokens": ["a", "b"], "tags": ["O"]}, "line 1 has 1 tags for 2 words"),
        ({"tokens": [], "tags": []}, "line 1 has no list of words"),
        ({"tokens": ["a", 5], "tags": ["O", "O"]}, "line 1 has the word 5"),
        ({"tokens": ["a"], "tags": [None]}, "line 1 has the tag None"),
        ({"tokens": {"a": 1}, "tags": ["O"]}, "line 1 has no list of words"),
    ],
)
def test_bad_words_are_told_by_their_row(tmp_path: Path, row: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        _load_words(_write(tmp_path, "train.jsonl", [row, *WORDS]))


def test_embeddings_learn_from_texts_and_are_scored_by_pairs(tmp_path: Path) -> None:
    _write(tmp_path, "train.jsonl", PAIRS)
    data = load_data(_write(tmp_path, "test.jsonl", PAIRS[:3]), "sentence-embedding", text_columns=PAIR)
    assert data.train.labels is None
    assert len(set(data.train.texts)) == len(data.train.texts)
    assert data.test.texts[0] == ("a 0", "b 0")
    assert data.test.labels == (0.0, 0.1, 0.2)
    assert data.validation.labels is not None
    assert not {part for pair in data.validation.texts for part in pair} & set(data.train.texts)


def test_embeddings_of_single_texts_need_no_labels(tmp_path: Path) -> None:
    data = load_data(_write(tmp_path, "train.jsonl", ROWS), "sentence-embedding")
    splits = (data.train, data.validation, data.test)
    assert [len(s.texts) for s in splits] == [48, 6, 6]
    assert all(s.labels is None for s in splits)


@pytest.mark.parametrize(
    ("task", "columns", "label", "says"),
    [
        ("token-classification", ("a", "b"), "label", "2 text columns; expected one"),
        ("text-classification", ("a", "b", "c"), "label", "3 text columns; expected one, or two"),
        ("text-classification", ("a", "a"), "label", "not all different"),
        ("text-classification", ("text",), None, "needs labels"),
    ],
)
def test_columns_that_no_task_has(tmp_path: Path, task: Any, columns: tuple[str, ...], label: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        load_data(_write(tmp_path, "train.jsonl", ROWS), task, text_columns=columns, label_column=label)


def _lines(folder: Path, content: str | bytes) -> Path:
    path = folder / "texts.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_texts_without_labels_are_cut_into_splits(tmp_path: Path) -> None:
    texts = _lines(tmp_path, "\n\n".join(f"text {i % 40}" for i in range(60)) + "\n \n")
    data = load_unlabelled(texts, "text-classification", label_names=["b", "a"])
    splits = (data.train, data.validation, data.test)
    assert [len(s.texts) for s in splits] == [36, 2, 2]
    assert len(set().union(*(s.texts for s in splits))) == 40
    assert all(s.labels is None for s in splits)
    assert (data.label_names, data.source, data.unlabelled, data.labelled) == (("b", "a"), None, str(texts), False)
    assert data == load_unlabelled(texts, "text-classification", label_names=["b", "a"])


def test_texts_without_labels_with_labelled_evaluation(tmp_path: Path) -> None:
    texts = _lines(tmp_path, "one\ntwo\nthree\n")
    folder = _write(tmp_path / "labelled", "validation.jsonl", ROWS[:4])
    data = load_unlabelled(texts, "text-classification", evaluation=folder, label_names=["on", "off"])
    assert (len(data.train.texts), len(data.validation.texts), data.validation.labels) == (2, 1, None)
    assert data.test.labels == (0, 0, 0, 0)
    _write(folder, "test.csv", ROWS[-2:])
    data = load_unlabelled(texts, "text-classification", evaluation=folder, label_names=["on", "off"])
    assert data.train.texts == ("one", "two", "three")
    assert (data.validation.labels, data.test.labels) == ((0, 0, 0, 0), (1, 1))
    with pytest.raises(DataError, match="which the model has not"):
        load_unlabelled(texts, "text-classification", evaluation=folder, label_names=["on", "dim"])


def test_pairs_words_and_sentences_without_labels(tmp_path: Path) -> None:
    texts = _lines(tmp_path, "a b\tc\nd\te\nf\tg\n")
    pairs = load_unlabelled(texts, "text-regression", text_columns=PAIR)
    assert _texts(pairs) == {("a b", "c"), ("d", "e"), ("f", "g")}
    words = load_unlabelled(texts, "token-classification", label_names=["O", "B-x"])
    assert _texts(words) == {("a", "b", "c"), ("d", "e"), ("f", "g")}
    folder = _write(tmp_path / "pairs", "test.jsonl", PAIRS[:3])
    sentences = load_unlabelled(texts, "sentence-embedding", evaluation=folder, text_columns=PAIR)
    assert {*sentences.train.texts, *sentences.validation.texts} == {"a b\tc", "d\te", "f\tg"}
    assert sentences.test.labels == (0.0, 0.1, 0.2)


def _texts(data: TaskData) -> set[object]:
    return {*data.train.texts, *data.validation.texts, *data.test.texts}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        (b"fine\nna\xefve\n", "line 2 is not UTF-8"),
        ("one\n", "1 different texts, too few"),
    ],
)
def test_bad_texts_without_labels(tmp_path: Path, content: str | bytes, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        load_unlabelled(_lines(tmp_path, content), "text-classification", label_names=["a", "b"])
    assert "\n" not in str(caught.value)


def test_no_file_a_folder_no_pair_and_a_model_without_labels(tmp_path: Path) -> None:
    for path, says in ((tmp_path / "none.txt", "is not there"), (tmp_path, "is a folder")):
        with pytest.raises(DataError, match=says):
            load_unlabelled(path, "text-regression")
    texts = _lines(tmp_path, "a\tb\nalone\n")
    with pytest.raises(DataError, match="line 2 is not a pair"):
        load_unlabelled(texts, "text-regression", text_columns=PAIR)
    with pytest.raises(DataError, match="the model names none"):
        load_unlabelled(texts, "text-classification")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no validation and no test file"):
        load_unlabelled(texts, "text-regression", evaluation=tmp_path / "empty")


def test_a_hub_data_sets_labels_are_named_by_their_feature(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub alone is made up: what comes from it is what the library gives."""
    tags = datasets.ClassLabel(names=["O", "B-x"])
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["no", "yes"]),
            "tokens": datasets.Sequence(datasets.Value("string")),
            "tags": datasets.Sequence(tags),
        }
    )
    columns = {"text": ["a b", "c d"], "label": [1, 0], "tokens": [["a", "b"], ["c", "d"]], "tags": [[0, 1], [1, 0]]}
    rows = datasets.Dataset.from_dict(columns, features=features)
    splits = datasets.DatasetDict(train=rows, validation=rows, test=rows)
    monkeypatch.setattr(datasets, "load_dataset", lambda _, **__: splits)
    classes = _load("owner/name")
    assert (classes.label_names, classes.train.labels) == (("no", "yes"), (1, 0))
    words = load_data("owner/name", "token-classification", text_columns=["tokens"], label_column="tags")
    assert (words.label_names, words.train.labels) == (("B-x", "O"), ((1, 0), (0, 1)))
    monkeypatch.setattr(datasets, "load_dataset", lambda _, **__: datasets.DatasetDict(dev=rows))
    with pytest.raises(DataError, match="owner/name has no train split"):
        _load("owner/name")
