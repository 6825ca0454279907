from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import programs
import pytest
import tiny_palette

from edgedistill.palette import Palette, load
from edgedistill.runtime import AdaptiveSession, TextClassifier

PROGRAM = "real_time/answer.py"


def records(stdout: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stdout.splitlines()]


def test_every_line_is_answered_in_its_order_and_in_time(palette: Path) -> None:
    done = programs.run(PROGRAM, palette, "--deadline-ms", 5000, stdin=b"play some music\nturn on the lamp")
    assert done.returncode == 0, done.stderr
    found = records(done.stdout)
    assert [record["line"] for record in found] == [1, 2]
    assert {record["label"] for record in found} <= set(tiny_palette.LABELS)
    *_, total, served = done.stderr.decode().splitlines()
    assert total.startswith("2 of 2 lines in time")
    assert served == "large answered 2: first"


def test_a_line_that_cannot_be_answered_has_its_error_and_the_others_their_answers(palette: Path) -> None:
    done = programs.run(PROGRAM, palette, "--deadline-ms", 5000, stdin=b"lamp\n\n\xff\xfe\nmusic\n")
    assert done.returncode == 1
    found = records(done.stdout)
    assert [record.get("error", "") for record in found][::3] == ["", ""]
    assert "is empty" in found[1]["error"]
    assert "not valid Unicode" in found[2]["error"]
    assert "2 of 4 lines in time" in done.stderr.decode()


def test_lines_that_waited_too_long_are_let_go_so_that_later_ones_are_not(palette: Path) -> None:
    """All of them come at once; what takes longer than the deadline in all cannot all be in time."""
    lines = b"turn on the lamp\n" * 20_000
    done = programs.run(PROGRAM, palette, "--deadline-ms", 30, stdin=lines)
    assert done.returncode == 1
    found = records(done.stdout)
    assert [record["line"] for record in found] == list(range(1, 20_001))
    late = [record for record in found if record.get("error") == "late"]
    assert late
    assert all(record["ms"] > 30 for record in late)
    in_time = sum("label" in record and record["ms"] <= 30 for record in found)
    assert f"{in_time} of 20000 lines in time" in done.stderr.decode()


def test_a_line_with_little_time_left_goes_to_the_smallest_and_that_is_why(palette: Path) -> None:
    answer = programs.module(PROGRAM).answer
    opened = load(palette)
    profile = tiny_palette.profile(opened.manifest, name="here")
    with AdaptiveSession(Palette(opened.folder, opened.manifest, {"here": profile}), profile="here") as session:
        classifier = TextClassifier(session)
        end_s = time.perf_counter() + 20
        while (found := answer(classifier, "lamp", 1e-4))["subnet"] != "small":
            assert time.perf_counter() < end_s
        assert found["why"] == "deadline"
        assert answer(classifier, "lamp", 1e4)["why"] == "first"
        assert answer(classifier, "lamp", -1.0) == {"error": "late"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_as_the_end_of_the_stream_does(palette: Path, number: int) -> None:
    with programs.start(PROGRAM, palette, "--deadline-ms", 5000) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"play some music\n")
        process.stdin.flush()
        assert "label" in json.loads(process.stdout.readline())  # while the stream is open
        process.send_signal(number)
        process.wait(programs.WAIT_S)
        assert process.stderr is not None
        assert "1 of 1 lines in time" in process.stderr.read().decode()
        assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["nowhere", "--deadline-ms", 30], "nowhere is not a palette"), (["{palette}", "--deadline-ms", -1], "-1.0")],
)
def test_what_cannot_be_used_is_refused_in_one_line(palette: Path, arguments: list[object], says: str) -> None:
    given = [palette if argument == "{palette}" else argument for argument in arguments]
    programs.one_line(programs.run(PROGRAM, *given), says)
