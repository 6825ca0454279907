"""A byte order mark at the very beginning of a user's file or stream is not part of it; anywhere else it is text."""

from __future__ import annotations

import codecs
import json
import subprocess
import sys
from pathlib import Path

import programs
import pytest
import tiny_palette
from commands import invoke

from edgedistill.data.readers import load_data, load_texts, load_unlabelled
from edgedistill.device_profiles.boards import load_board
from edgedistill.errors import DataError
from edgedistill.supernet.model_config import read_json_object
from edgedistill.supernet.pretrained import pooling_of
from edgedistill.utf8 import NotUtf8, decode_text

MARK = codecs.BOM_UTF8


@pytest.fixture(scope="module")
def palette(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_palette.write(tmp_path_factory.mktemp("marks") / "palette")


def test_only_one_mark_and_only_the_first() -> None:
    assert decode_text(MARK + "a\ufeffb".encode()) == "a\ufeffb"
    assert decode_text(MARK + MARK) == "\ufeff"
    for codec in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        assert decode_text("é\n".encode(codec)) == "é\n"


@pytest.mark.parametrize(
    ("content", "line", "byte"),
    [(b"\xe9", 1, "e9"), (b"a\n\xe9", 2, "e9"), (b"a\r\nb\xff", 2, "ff"), (MARK + b"a\n\nb \x93x", 3, "93")],
)
def test_the_line_and_the_byte_that_are_not_utf8_are_named(content: bytes, line: int, byte: str) -> None:
    with pytest.raises(NotUtf8, match=rf"line {line} is not UTF-8 \(byte 0x{byte}, '.' in Windows-1252\)"):
        decode_text(content)


def test_standard_input_of_run(palette: Path) -> None:
    lines = b'{"text": "turn on the lamp"}\n'
    done = subprocess.run(
        [sys.executable, "-m", "edgedistill", "run", str(palette)],
        input=MARK + lines + lines + MARK + lines,
        capture_output=True,
        check=False,
    )
    first, second, third = map(json.loads, done.stdout.splitlines())
    assert first["label"] == second["label"]
    assert first["text"] == "turn on the lamp"
    assert "not a JSON line" in third["error"]
    assert done.returncode == 1


def test_a_recipe_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_bytes(MARK + b"rank = 4\n")
    done = invoke("recipe", "--recipe", tmp_path / "recipe.toml", "--json")
    assert json.loads(done.stdout)["rank"] == 4


def test_a_board(tmp_path: Path) -> None:
    shipped = Path(tiny_palette.__file__).parents[1] / "edgedistill/device_profiles/boards/pi5.toml"
    (tmp_path / "mine.toml").write_bytes(MARK + shipped.read_bytes())
    assert load_board(tmp_path / "mine.toml") == load_board("pi5")


def test_the_json_of_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling/config.json").write_bytes(MARK + b'{"pooling_mode": "cls"}')
    assert pooling_of(tmp_path) == "first"
    (tmp_path / "config.json").write_bytes('{"model_type": "bert"}'.encode("utf-16"))
    assert read_json_object(tmp_path / "config.json") == {"model_type": "bert"}


def test_texts_without_labels_and_those_out_of_scope(tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_bytes(MARK + b"one\n" + MARK + b"two\nthree\n")
    assert load_texts(texts, "text-classification", pair=False).texts == ("one", "\ufefftwo", "three")
    data = load_unlabelled(texts, "text-classification", label_names=["a", "b"])
    assert "one" in {*data.train.texts, *data.validation.texts, *data.test.texts}
    texts.write_bytes(MARK)
    with pytest.raises(DataError, match=r"texts\.txt is empty"):
        load_texts(texts, "text-classification", pair=False)


@pytest.mark.parametrize("name", ["train.csv", "train.json", "train.txt"])
def test_a_data_file_of_the_mark_alone_is_empty(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(MARK)
    for task in ("text-classification", "text-generation"):
        with pytest.raises(DataError, match="is empty"):
            load_data(tmp_path, task)  # type: ignore[arg-type]


def test_the_example_that_labels_a_folder(palette: Path, tmp_path: Path) -> None:
    folder, results = tmp_path / "documents", tmp_path / "results.jsonl"
    folder.mkdir()
    for name, content in (("mark.txt", MARK), ("with.txt", MARK + b"set a timer"), ("without.txt", b"set a timer")):
        (folder / name).write_bytes(content)
    programs.one_line(programs.run("offline/label.py", palette, folder, results), "1 documents could not be answered")
    records = {line["document"]: line for line in map(json.loads, results.read_text().splitlines())}
    assert "is empty" in records["mark.txt"]["error"]
    assert records["with.txt"] | {"document": ""} == records["without.txt"] | {"document": ""}


def test_the_example_that_redacts(tmp_path: Path) -> None:
    tagger = tiny_palette.write(tmp_path / "palette", tiny_palette.TAGGED)
    done = programs.run("private/redact.py", tagger, stdin=MARK + b"turn on the lamp\n")
    assert done.stdout == b"turn on the [thing]\n"
    programs.one_line(programs.run("private/redact.py", tagger, stdin=MARK), "there is no text")


def test_the_example_that_answers_a_stream(palette: Path) -> None:
    done = programs.run("real_time/answer.py", palette, "--deadline-ms", 5000, stdin=MARK + b"\nlamp\n" + MARK + b"\n")
    first, second, third = map(json.loads, done.stdout.splitlines())
    assert "is empty" in first["error"]
    assert second["label"] in tiny_palette.LABELS
    assert "label" in third, "a mark inside is text"
