"""What a decoder learns from: which files are read, what is cut from train, what is refused and how that is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgedistill.data.dataset import TaskData
from edgedistill.data.readers import load_data, load_unlabelled
from edgedistill.errors import DataError

LINES = "".join(f" = Title {i} = \n\n text of {i} , as it stands . \n" for i in range(200))


def _texts(data: TaskData) -> list[str]:
    splits = (data.train, data.validation, data.test)
    return ["".join(text for text in split.texts if isinstance(text, str)) for split in splits]


def _load(source: Path, **options: object) -> TaskData:
    return load_data(source, "text-generation", **options)  # type: ignore[arg-type]


def test_one_file_is_cut_in_order_between_lines(tmp_path: Path) -> None:
    (tmp_path / "input.txt").write_text(LINES)
    texts = _texts(_load(tmp_path / "input.txt"))
    assert "".join(texts) == LINES
    assert all(text.endswith("\n") for text in texts)
    assert [round(len(text) / len(LINES), 2) for text in texts] == [0.9, 0.05, 0.05]


@pytest.mark.parametrize("validation", ["validation", "valid"])
def test_a_folder_of_text_files_keeps_its_lines(tmp_path: Path, validation: str) -> None:
    for name, text in (("train", LINES), (validation, "one\ntwo\n"), ("test", "\ufeffthree\r\nfour")):
        (tmp_path / f"{name}.txt").write_bytes(text.encode())
    assert _texts(_load(tmp_path)) == [LINES, "one\ntwo\n", "three\nfour"]
    (tmp_path / "test.txt").unlink()
    train, chosen, reported = _texts(_load(tmp_path))
    assert (train + chosen, reported) == (LINES, "one\ntwo\n")
    assert chosen


def test_a_tables_rows_are_documents_and_labels_are_not_read(tmp_path: Path) -> None:
    rows = [{"story": f"story {i}", "label": "unused"} for i in range(40)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = _load(tmp_path, text_columns=["story"])
    assert sorted(text for split in (data.train, data.validation, data.test) for text in split.texts) == sorted(
        row["story"] for row in rows
    )
    assert data.train.labels is None
    assert data.labelled
    assert (data.columns.text, data.columns.label) == (("story",), None)
    assert data.sha256 == _load(tmp_path, text_columns=["story"]).sha256


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, r"has no train file; expected .*train\.txt"),
        ({"notes.txt": b"text"}, r"has no train file; .*; not read: notes\.txt"),
        ({"train.txt": b" \n\n"}, r"train\.txt is empty; expected text"),
        ({"train.txt": b"good \xff"}, "line 1 is not UTF-8 .byte 0xff"),
        ({"train.txt": b"a", "valid.txt": b"b", "validation.txt": b"c"}, r"has both valid\.txt and validation\.txt"),
        ({"train.csv": b"body\nhello\n"}, "has no column 'text'; it has 'body'"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path: Path, files: dict[str, bytes], says: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says):
        _load(tmp_path)


def test_a_place_that_is_not_there_and_options_that_mean_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        _load(tmp_path / "none")
    with pytest.raises(DataError, match="was given 2 text columns; expected one"):
        _load(tmp_path, text_columns=["a", "b"])
    with pytest.raises(DataError, match="learns from text itself; give the texts by --data"):
        load_unlabelled(tmp_path, "text-generation")
