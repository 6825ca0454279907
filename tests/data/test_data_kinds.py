"""The same rows are the same data, whichever kind of file they are in; what a kind cannot say is refused by name."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import datasets
import pandas
import pyarrow
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from edgedistill.data.dataset import TaskData
from edgedistill.data.readers import load_data
from edgedistill.errors import DataError

Rows = Sequence[dict[str, Any]]


def _delimited(rows: Rows, delimiter: str, end: str = "\r\n") -> bytes:
    file = io.StringIO(newline="")
    # The writer quotes the line ends that it writes itself, but not others.
    quoting = csv.QUOTE_MINIMAL if end == "\r\n" else csv.QUOTE_ALL
    writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def _lines(rows: Rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _zstd(content: bytes) -> bytes:
    """A whole zstd file, whose frame names no size, as the command writes it from a pipe."""
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


def _parquet(rows: Rows) -> bytes:
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.Table.from_pylist(list(rows)), sink)
    return bytes(sink.getvalue())


def _arrow(rows: Rows, new: Callable[..., Any]) -> bytes:
    table, sink = pyarrow.Table.from_pylist(list(rows)), pyarrow.BufferOutputStream()
    with new(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


KINDS: dict[str, Callable[[Rows], bytes]] = {
    "train.csv": lambda rows: _delimited(rows, ","),
    "Train.CSV": lambda rows: b"\xef\xbb\xbf" + _delimited(rows, ";", "\n"),
    "train.tsv": lambda rows: _delimited(rows, "\t"),
    "training.csv": lambda rows: _delimited(rows, "|", "\r"),
    "train-1.csv": lambda rows: _delimited(rows, ",").decode().encode("utf-16"),
    "train_2.csv": lambda rows: b"sep=;\r\n" + _delimited(rows, ";"),
    "train.jsonl": _lines,
    "train.ndjson": lambda rows: b"\xef\xbb\xbf" + _lines(rows).replace(b"\n", b"\r\n\r\n"),
    "train.json": lambda rows: json.dumps(list(rows), indent=2, ensure_ascii=False).encode(),
    "TRAIN.json": lambda rows: json.dumps({"version": 1, "data": list(rows)}).encode(),
    "train.csv.gz": lambda rows: gzip.compress(_delimited(rows, ","), mtime=0),
    "train.tsv.bz2": lambda rows: bz2.compress(_delimited(rows, "\t")),
    "train.jsonl.xz": lambda rows: lzma.compress(_lines(rows)),
    "train.jsonl.zst": lambda rows: _zstd(_lines(rows)),
    "train.parquet": _parquet,
    "train.arrow": lambda rows: _arrow(rows, pyarrow.ipc.new_stream),
    "x-train.arrow": lambda rows: _arrow(rows, pyarrow.ipc.new_file),
}


def _write(folder: Path, kind: str, rows: Rows) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / kind).write_bytes(KINDS[kind](rows))
    for split in ("validation", "test"):
        (folder / f"{split}.jsonl").write_bytes(_lines(rows))
    return folder


def _load(rows: Rows, kind: str, task: Any = "text-classification", **options: Any) -> TaskData | str:
    """The data, or the message that refuses them, from the row on."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return load_data(_write(Path(folder), kind, rows), task, **options)
        except DataError as error:
            return str(error).split("; expected")[0].partition(", ")[2].lstrip("linerow 0123456789,")


def _same(rows: Rows, task: Any = "text-classification", **options: Any) -> TaskData | str:
    """What every kind gives."""
    first = _load(rows, "train.jsonl", task, **options)
    for kind in KINDS:
        other = _load(rows, kind, task, **options)
        if isinstance(first, str) or isinstance(other, str):
            assert other == first, kind
        else:
            assert (other.train, other.label_names, other.sha256) == (first.train, first.label_names, first.sha256), (
                kind
            )
    return first


# Not NUL and not half characters, which are refused; "\r" is no more in a field than in the others.
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
LABELS = TEXTS | st.sampled_from(
    ["on", "on ", "NA", "null", "None", "nan", "01", "1", "1.0", "é", "e\u0301", "TRUE", ""]
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.fixed_dictionaries({"text": TEXTS, "label": LABELS}), min_size=2, max_size=6))
@example([{"text": 'a "quoted"; text,\twith | all', "label": "on"}, {"text": "two\r\nlines\n\nhere", "label": "off"}])
@example([{"text": "x" * 200_000, "label": "on"}, {"text": "\ufeffmark", "label": "off"}])
@example([{"text": "a", "label": "1.0"}, {"text": "b", "label": "0.0"}])
@example([{"text": "a", "label": "on"}, {"text": "\u2028", "label": "off"}, {"text": "b\x85", "label": "\x1c"}])
def test_the_same_strings_are_the_same_data(rows: Rows) -> None:
    _same(rows)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["on", "on ", " off"], ("off", "on")),
        (["caf\u00e9", "cafe\u0301", "the"], ("caf\u00e9", "the")),
        ([0, 1, 1], ("0", "1")),
        ([1.0, 0.0, 1.0], ("0", "1")),
        (["1.0", "0.0", "1.0"], ("0", "1")),
        ([-1.0, 2.0, 2.0], ("-1", "2")),
        (["1.0", "1.1", "2.0"], ("1.0", "1.1", "2.0")),
        (["01", "1", "1"], ("01", "1")),
        ([True, False, True], ("False", "True")),
        (["NA", "null", "None"], ("NA", "None", "null")),
    ],
)
def test_labels_are_named_alike(labels: list[Any], names: tuple[str, ...]) -> None:
    data = _same([{"text": f"text {i}", "label": label} for i, label in enumerate(labels)])
    assert isinstance(data, TaskData)
    assert data.label_names == names


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"text": "a", "label": None}, "has no label"),
        ({"text": "a", "label": "  "}, "has no label"),
        ({"text": None, "label": "on"}, "has no text"),
        ({"text": " \t", "label": "on"}, "has no text"),
    ],
)
def test_what_is_missing_is_missing_everywhere(row: dict[str, Any], says: str) -> None:
    assert _same([{"text": "b", "label": "off"}, row]) == says


@pytest.mark.parametrize("value", [7, 1.5, True])
def test_a_text_that_is_a_number_is_what_csv_has_for_it(value: Any) -> None:
    rows = [{"text": value, "label": "on"}, {"text": value, "label": "off"}]
    data = _same(rows)
    assert isinstance(data, TaskData)
    assert data.train.texts == (str(value), str(value))


def test_rows_in_which_nothing_stands_are_left_out_and_named(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": "on"}, {"text": None, "label": " "}, {"text": "b", "label": "off"}]
    data = _same(rows)
    assert isinstance(data, TaskData)
    assert data.train.texts == ("a", "b")
    folder = _write(tmp_path, "train.csv", rows)
    assert load_data(folder, "text-classification").notes[0] == f"{folder / 'train.csv'}: left out as empty: line 3"


def test_numbers_of_a_regression() -> None:
    data = _same([{"text": f"{n}", "label": n} for n in (1, 2.5, -3e-7)], "text-regression")
    assert isinstance(data, TaskData)
    assert data.train.labels == (1.0, 2.5, -3e-7)
    for label in ("1,5", "1_0", "warm", "nan"):
        says = _same([{"text": "a", "label": "1"}, {"text": "b", "label": label}], "text-regression")
        assert says == f"has the label {label!r}"


WORDS = {"tokens": ["to", "New", "York's", "5th"], "tags": ["O", "B-city", "I-city", "O"]}


@pytest.mark.parametrize("write", [list, json.dumps, str, " ".join])
def test_words_as_lists_as_json_as_python_prints_them_and_with_blanks(write: Callable[[list[str]], Any]) -> None:
    options = {"text_columns": ["tokens"], "label_column": "tags"}
    data = _same([{name: write(values) for name, values in WORDS.items()}] * 2, "token-classification", **options)
    assert isinstance(data, TaskData)
    assert data.train.texts[0] == tuple(WORDS["tokens"])
    assert data.label_names == ("B-city", "I-city", "O")


@pytest.mark.parametrize(
    ("tokens", "tags", "says"),
    [
        ("['a' 'b']", "O O", "has the words \"['a' 'b']\", which is not a list as JSON writes it"),
        ("a b", "[0 1]", "has the tags '[0 1]', which is not a list as JSON writes it"),
        ("['a', nonsense']", "O O", "has the words \"['a', nonsense']\", which is not a list as JSON writes it"),
    ],
)
def test_lists_that_are_not_whole_are_refused(tokens: str, tags: str, says: str) -> None:
    rows = [{"tokens": tokens, "tags": tags}] * 2
    assert _same(rows, "token-classification", text_columns=["tokens"], label_column="tags") == says


def test_words_in_brackets_are_words() -> None:
    rows = [{"tokens": "[ a ]", "tags": "O B O"}] * 2
    data = _same(rows, "token-classification", text_columns=["tokens"], label_column="tags")
    assert isinstance(data, TaskData)
    assert data.train.texts[0] == ("[", "a", "]")


def test_several_files_are_read_one_behind_the_other(tmp_path: Path) -> None:
    rows = [{"text": f"text {i}", "label": "ab"[i % 2]} for i in range(9)]
    for name, part in (("train-00000-of-00002.csv", rows[:4]), ("train-00001-of-00002.csv", rows[4:])):
        (tmp_path / name).write_bytes(_delimited(part, ","))
    _write(tmp_path / "whole", "train.jsonl", rows)
    for split in ("validation", "test"):
        (tmp_path / f"{split}.jsonl").write_bytes(_lines(rows))
    whole = load_data(tmp_path / "whole", "text-classification")
    (tmp_path / "whole").rename(tmp_path / ".whole")
    assert load_data(tmp_path, "text-classification").sha256 == whole.sha256


def test_a_single_file_is_train(tmp_path: Path) -> None:
    rows = [{"text": f"text {i}", "label": "ab"[i % 2]} for i in range(40)]
    (tmp_path / "spam.csv").write_bytes(_delimited(rows, ","))
    data = load_data(tmp_path / "spam.csv", "text-classification")
    assert len(data.train.texts) == 32
    assert data.source == str(tmp_path / "spam.csv")


def test_names_of_classes_are_kept_by_parquet_and_by_saved_data_sets(tmp_path: Path) -> None:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes "])})
    rows = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    (tmp_path / "files").mkdir()
    for split in ("train", "dev", "test"):
        parquet.write_table(rows.data.table, tmp_path / "files" / f"{split}-00000-of-00001.parquet")
    datasets.DatasetDict(train=rows, validation=rows, test=rows).save_to_disk(tmp_path / "saved")
    for folder in ("files", "saved"):
        data = load_data(tmp_path / folder, "text-classification")
        assert (data.label_names, data.train.labels) == (("no", "yes"), (1, 0)), folder


def test_a_class_of_none_and_one_without_a_name_are_refused(tmp_path: Path) -> None:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    for label, says in ((-1, "row 2 has no label"), (5, "row 2 has the label 5; the column names 2 classes")):
        table = pyarrow.table({"text": ["a", "b"], "label": [1, label]}, schema=features.arrow_schema)
        parquet.write_table(table, tmp_path / "train.parquet")
        with pytest.raises(DataError, match=says):
            load_data(tmp_path, "text-classification")


def test_what_pandas_writes(tmp_path: Path) -> None:
    """An index column, a category, a column of integers that had a gap."""
    frame = pandas.DataFrame({"text": [f"t {i}" for i in range(4)], "label": [0.0, 1.0, 0.0, 1.0]})
    kinds: dict[str, Callable[[Path], Any]] = {
        "train.csv": frame.to_csv,
        "train.parquet": frame.astype({"label": "category"}).to_parquet,
        "train.json": lambda path: frame.to_json(path, orient="records"),
        "train.jsonl": lambda path: frame.to_json(path, orient="records", lines=True),
    }
    for name, write in kinds.items():
        folder = tmp_path / name
        folder.mkdir()
        for split in ("train", "validation", "test"):
            write(folder / name.replace("train", split))
        data = load_data(folder, "text-classification")
        assert (data.train.texts, data.label_names) == (("t 0", "t 1", "t 2", "t 3"), ("0", "1")), name


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("train.csv", b"text;label|x\na;b|c\n", r"has semicolons and '\|' in its header; expected one delimiter"),
        (
            "train.csv",
            "text,label\nname,é\n".encode("cp1252"),
            r"line 2 is not UTF-8 \(byte 0xe9, 'é' in Windows-1252\)",
        ),
        ("train.csv", b"\xef\xbb\xbftext,label\r\nok,1\r\nna\xefve,2\r\n", "line 3 is not UTF-8"),
        ("train.jsonl", '{"text": "é"}\n'.encode("latin-1"), "line 1 is not UTF-8.*iconv -f WINDOWS-1252 -t UTF-8"),
        ("train.csv", "text,label\na,b\n".encode("utf-16-le"), "line 1 has a NUL byte, as UTF-16 has"),
        ("train.csv", "text,label\n".encode("utf-16")[:-1], "begins with the mark of UTF-16 and is damaged"),
        ("train.csv", b"text,label\na,b\nc,d\0\n", "line 3 has a NUL byte"),
        ("train.csv", b'text,label\n"two\nlines",x\nfine,"never\n\nclosed', "lines 4 to 6: not CSV"),
        ("train.csv", b'text,label\n"two\n\nlines",x\n\n ,y\n', "line 6 has no text"),
        ("train.csv", b'text,label\na,b\n"quote" behind,c\n', "line 3: not CSV"),
        (
            "train.csv",
            b"please open,on\nplease close,off\n",
            "has no column 'text'; it has 'please open', 'on'; .* header",
        ),
        ("train.csv", b"\n\n", "is empty"),
        ("train.csv", b"\xef\xbb\xbf", "is empty"),
        ("train.csv", b"text,label\n,\n , \n", "is empty"),
        ("train.csv.gz", b"text,label\n", "train.csv.gz cannot be read: .*; expected text in UTF-8, compressed as .gz"),
        (
            "train.csv.gz",
            gzip.compress(b"text,label\n" * 99, mtime=0)[:-9],
            "train.csv.gz cannot be read: .*compressed as .gz",
        ),
        ("train.csv.bz2", b"text", "compressed as .bz2"),
        ("train.csv.xz", b"text", "compressed as .xz"),
        ("train.csv.zst", b"text", "compressed as .zst"),
        ("train.parquet", b"PAR1 no PAR1", "train.parquet cannot be read: .*; expected a whole .parquet file"),
        ("train.arrow", b"text,label\n", "train.arrow cannot be read: .*; expected a whole .arrow file"),
        ("train.json", b'{"text": ["a"], "label": ["b"]}', "line 1 has the text"),
        (
            "train.json",
            b'{\n "text": {"0": "a"},\n "label": {"0": "b"}\n}',
            "is one object with 'text', 'label'; expected",
        ),
        ("train.json", b"[1, 2]", "row 1 is not a JSON object"),
        ("train.json", b'"text"', "is one value; expected one object a line"),
        ("train.json", b'[{"text": "a",\n "label": }]', r"line 2 is not JSON \(Expecting value\)"),
        ("train.json", b"[" * 100_000, "is not JSON"),
        ("train.jsonl", b'{"text": "a", "label": "b"}\n[1]\n', "line 2 is not a JSON object"),
        ("train.txt", b"a text\n", "train.txt has no column 'label'; it has 'text'"),
    ],
)
def test_damage_is_named_by_its_place(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        load_data(tmp_path, "text-classification")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spilt", ["", "spilt"])
def test_columns_without_a_name_are_left_out_and_said_where_values_stand_there(tmp_path: Path, spilt: str) -> None:
    lines = [f"text {i},{'ab'[i % 2]},,," for i in range(12)]
    (tmp_path / "train.csv").write_text("\n".join(["text,label,,,", *lines, f"more,a,,{spilt},"]))
    data = load_data(tmp_path, "text-classification")
    assert data.label_names == ("a", "b")
    says = f"{tmp_path / 'train.csv'}: columns without a name are left out; 1 of 13 rows have values there"
    assert [note for note in data.notes if "without a name" in note] == ([says] if spilt else [])


def test_the_csv_modules_limit_is_put_back(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    (tmp_path / "train.csv").write_text('text,label\n"never closed')
    with pytest.raises(DataError):
        load_data(tmp_path, "text-classification")
    assert csv.field_size_limit() == before


SEEDS = [{"text": "a", "label": "on"}, {"text": 'b "c", d', "label": "off"}]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(KINDS)), st.data())
def test_nothing_but_a_data_error_leaves_a_damaged_file(kind: str, data: st.DataObject) -> None:
    content = bytearray(KINDS[kind](SEEDS))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content)))
        content[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / kind).write_bytes(content)
        for task in ("text-classification", "text-regression", "token-classification", "text-generation"):
            with suppress(DataError):
                load_data(folder, task)  # type: ignore[arg-type]
