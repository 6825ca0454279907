from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any

import plain_answers
import programs
import pytest
import tiny_palette

from edgedistill.errors import DataError

PROGRAM = "offline/label.py"
TEXTS = ["turn on the lamp", "play some music", "set a timer"]
DOCUMENTS = 3000


def write(folder: Path, count: int) -> Path:
    for place in range(count):
        path = folder / f"part{place % 3}" / f"{place}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TEXTS[place % 3])
    return folder


def records(results: Path) -> dict[str, dict[str, Any]]:
    """By document; each has one."""
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    found = {line.pop("document"): line for line in lines}
    assert len(found) == len(lines)
    return found


def wait_for_growth(results: Path, process: Any) -> None:
    before = results.stat().st_size if results.exists() else 0
    end_s = time.perf_counter() + programs.WAIT_S
    while not results.exists() or results.stat().st_size <= before:
        assert process.poll() is None, "it ended before it was killed"
        assert time.perf_counter() < end_s
        time.sleep(0.001)


def test_killed_over_and_over_it_answers_each_document_once(palette: Path, tmp_path: Path) -> None:
    folder, results = write(tmp_path / "documents", DOCUMENTS), tmp_path / "results.jsonl"
    for _ in range(3):
        with programs.start(PROGRAM, palette, folder, results) as process:
            wait_for_growth(results, process)
            process.kill()
        with results.open("ab") as file:  # what a kill between two blocks of one write leaves
            file.write(b'{"document": "part0/0.t')
    done = programs.run(PROGRAM, palette, folder, results)
    assert done.returncode == 0, done.stderr
    found = records(results)
    assert set(found) == {str(path.relative_to(folder)) for path in folder.rglob("*.txt")}
    logits = [plain_answers.outputs(palette, "large", text) for text in TEXTS]
    for name, record in found.items():
        expected = tiny_palette.LABELS[int(logits[int(name[4]) % 3].argmax())]
        assert (record["label"], record["subnet"]) == (expected, "large")
    whole = results.read_bytes()
    again = programs.run(PROGRAM, palette, folder, results)
    assert again.returncode == 0
    assert results.read_bytes() == whole


def test_a_file_cut_at_any_byte_is_taken_up_at_the_last_whole_line(tmp_path: Path) -> None:
    finished = programs.module(PROGRAM).finished
    results = tmp_path / "results.jsonl"
    lines = [json.dumps({"document": name} | rest) + "\n" for name, rest in (("é.txt", {"error": "e"}), ("b.txt", {}))]
    whole = "".join(lines).encode()
    for cut in range(len(whole) + 1):
        results.write_bytes(whole[:cut])
        with results.open("a+b") as file:
            found = finished(file)
        kept = whole[:cut].rpartition(b"\n")[0]
        assert list(found.items()) == [("é.txt", False), ("b.txt", True)][: whole[:cut].count(b"\n")]
        assert results.read_bytes() == (kept + b"\n" if kept else b"")


@pytest.mark.parametrize("text", ["a letter", "a letter\n", '{"text": "a"}\n', '{"document": "a.txt"}\nx'])
def test_a_file_of_another_program_is_neither_cut_nor_added_to(tmp_path: Path, text: str) -> None:
    results = tmp_path / "letter"
    results.write_text(text)
    with results.open("a+b") as file, pytest.raises(DataError, match="is not a result of this program"):
        programs.module(PROGRAM).finished(file)
    assert results.read_text() == text


def test_documents_that_cannot_be_answered_say_why_and_hold_up_no_others(palette: Path, tmp_path: Path) -> None:
    folder, results = write(tmp_path / "documents", 5), tmp_path / "results.jsonl"
    (folder / "blank.txt").write_text(" \n")
    (folder / "bytes.txt").write_bytes(b"\xff\xfe lamp")
    (folder / "huge.txt").write_text("lamp " * 300_000)
    name = os.fsdecode(b"n\xe9.txt")  # of an old file system
    (folder / name).write_text("lamp")
    for _ in range(2):
        programs.one_line(programs.run(PROGRAM, palette, folder, results), "2 documents could not be answered")
        found = records(results)
        assert {name for name, record in found.items() if "error" in record} == {"blank.txt", "bytes.txt"}
        assert "label" in found["huge.txt"]
        assert "label" in found[name]
        assert len(found) == 9


def test_the_best_that_fits_into_the_memory_answers(palette: Path, tmp_path: Path) -> None:
    """The middle one takes 0.008 MB, the large one 0.016, beside the small one's 0.004."""
    results = tmp_path / "results.jsonl"
    folder = write(tmp_path / "documents", 3)
    done = programs.run(PROGRAM, palette, folder, results, "--max-memory-mb", 0.013)
    assert done.returncode == 0, done.stderr
    assert {record["subnet"] for record in records(results).values()} == {"middle"}
    assert b"3 of 3 documents; middle serves" in done.stderr


def test_what_cannot_be_used_is_refused_in_one_line(palette: Path, tmp_path: Path) -> None:
    folder, results = write(tmp_path / "documents", 1), tmp_path / "results.jsonl"
    programs.one_line(programs.run(PROGRAM, tmp_path / "nowhere", folder, results), "nowhere is not a palette")
    programs.one_line(programs.run(PROGRAM, palette, tmp_path / "empty", results), "empty has no .txt files")
    programs.one_line(programs.run(PROGRAM, palette, folder, tmp_path / "no" / "folder"), "No such file")
    with results.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        programs.one_line(programs.run(PROGRAM, palette, folder, results), "another run writes these results")
