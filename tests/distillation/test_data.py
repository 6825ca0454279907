"""Reading a user's data: what is read, what is cut from train, what is refused and how that is said."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from edgedistill.distillation.baseline import word_count_accuracy
from edgedistill.distillation.data import load_classification
from edgedistill.errors import DataError

ROWS = [
    {"text": f"{verb} number {i}", "label": label}
    for label, verb in (("on", "start"), ("off", "stop"))
    for i in range(30)
]


def _write(folder: Path, name: str, rows: list[dict[str, str]]) -> Path:
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
    data = load_classification(tmp_path / "data")
    assert [len(s.texts) for s in (data.train, data.validation, data.test)] == [60, 7, 9]
    assert data.label_names == ("off", "on")
    assert data.train.texts[0] == "start number 0"
    assert data.label_names[data.train.labels[0]] == "on"


def test_columns_by_name_and_labels_that_are_numbers(tmp_path: Path) -> None:
    rows = [{"utterance": r["text"], "intent": "01"[r["label"] == "on"]} for r in ROWS]
    data = load_classification(_write(tmp_path, "train.csv", rows), text_column="utterance", label_column="intent")
    assert data.label_names == ("0", "1")
    assert data.columns == ("utterance", "intent")


def test_what_is_missing_is_cut_from_train_the_same_each_time(tmp_path: Path) -> None:
    folder = _write(tmp_path, "train.jsonl", ROWS + ROWS[:5])
    data, again = load_classification(folder), load_classification(folder)
    assert data == again
    splits = [set(s.texts) for s in (data.train, data.validation, data.test)]
    assert sum(map(len, splits)) == len(set.union(*splits)) == 60  # deduplicated, and nothing twice
    assert [len(s) for s in splits] == [48, 6, 6]
    assert sorted(data.test.labels) == [0, 0, 0, 1, 1, 1]  # stratified


def test_without_test_the_published_validation_reports(tmp_path: Path) -> None:
    _write(tmp_path, "train.jsonl", ROWS)
    data = load_classification(_write(tmp_path, "validation.jsonl", ROWS[:4] + ROWS[-4:]))
    assert len(data.test.texts) == 8
    assert not set(data.validation.texts) & set(data.train.texts)


def test_the_hash_follows_the_content(tmp_path: Path) -> None:
    first = load_classification(_write(tmp_path / "a", "train.jsonl", ROWS)).sha256
    same = load_classification(_write(tmp_path / "b", "train.csv", ROWS)).sha256
    other = load_classification(_write(tmp_path / "c", "train.jsonl", ROWS[1:])).sha256
    assert first == same != other


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty"),
        ('{"text": "a", "label": "b"}\nnonsense\n', "line 2 is no JSON"),
        ("[1, 2]\n", "line 1 is no JSON object"),
        ('{"text": "", "label": "b"}\n', "row 1 has no text"),
        ('{"text": 5, "label": "b"}\n', "row 1 has no text"),
        ('{"text": "a", "label": null}\n', "row 1 has no label"),
        ('{"words": "a", "label": "b"}\n', "no column 'text'; it has words, label"),
        ('{"text": "a", "label": "b"}\n' * 9, "expected at least two labels"),
        ('{"text": "a", "label": "b"}\n{"text": "c", "label": "d"}\n', "too few"),
    ],
)
def test_bad_rows_are_told_by_their_place(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "train.jsonl").write_text(content)
    with pytest.raises(DataError, match=says) as caught:
        load_classification(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_csv_with_a_header_alone_is_empty(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\n")
    with pytest.raises(DataError, match="empty"):
        load_classification(tmp_path)


def test_csv_fields_are_taken_as_they_stand(tmp_path: Path) -> None:
    rows = [{"text": text, "label": label} for text, label in (("null", "01"), ("NA", "1"), ("7", "01"))] * 3
    rows += [{"text": f"{row['text']} {i}", "label": row["label"]} for i in range(5) for row in rows[:3]]
    data = load_classification(_write(tmp_path, "train.csv", rows))
    assert data.label_names == ("01", "1")
    assert {"null", "NA", "7"} <= {*data.train.texts, *data.validation.texts, *data.test.texts}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"text,label\na,b\nstart, then stop,c\n", "line 3 has 3 fields; expected 2"),
        (b"text,label\nalone\n", "line 2 has 1 fields; expected 2"),
        (b'text,label\n"never closed,b\n', "no CSV"),
        (b"text,text\na,b\n", "two columns of the same name"),
        (b"text,label\nna\xefve,b\n", "cannot be read.*UTF-8"),
    ],
)
def test_a_damaged_csv_is_told_by_its_line(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "train.csv").write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        load_classification(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_label_that_train_has_not(tmp_path: Path) -> None:
    _write(tmp_path, "train.jsonl", ROWS)
    _write(tmp_path, "validation.jsonl", ROWS)
    with pytest.raises(DataError, match="test has the label 'dim', which train has not"):
        load_classification(_write(tmp_path, "test.jsonl", [{"text": "lower", "label": "dim"}]))


@pytest.mark.parametrize("source", ["./nowhere", "/nowhere/at/all"])
def test_no_folder(source: str) -> None:
    with pytest.raises(DataError, match="no folder"):
        load_classification(source)


def test_no_train_file_and_two_of_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no train\.csv"):
        load_classification(_write(tmp_path, "test.jsonl", ROWS))
    _write(tmp_path, "train.jsonl", ROWS)
    with pytest.raises(DataError, match=r"both train\.csv and train\.jsonl"):
        load_classification(_write(tmp_path, "train.csv", ROWS))


def test_word_counts_learn_what_words_tell(tmp_path: Path) -> None:
    assert word_count_accuracy(load_classification(_write(tmp_path, "train.jsonl", ROWS))) == 1.0
