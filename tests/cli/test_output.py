"""What commands print of strings of others: all of it, and none of it as markup or as a terminal's commands."""

from __future__ import annotations

import io
import json
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_palette
from commands import invoke
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rich.table import Table
from typer.testing import Result

from edgedistill.cli.output import Terminal, lines, print_json, print_json_line, print_text, styled
from edgedistill.device_profiles import board_detection
from edgedistill.palette import Manifest, load, write_profile

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
BOARD = (Path(board_detection.__file__).parent / "boards" / "pi5.toml").read_text(encoding="utf-8")
# Made to steer a terminal, to be markup or a code of an emoji, to forge a line, to turn the writing's direction.
EVIL = (
    "[red]",
    "[/x]",
    "[link=x]",
    ":smile:",
    "\x1b[2J",
    "\x1b]0;t\x07",
    "\x9b1m",
    "\n",
    "\r",
    "\u202e",
    "\u2028",
    "\\",
)
ALL = "".join(EVIL)
FOREIGN = st.lists(
    st.sampled_from(EVIL) | st.text(st.characters(codec="utf-8"), min_size=1, max_size=5), min_size=1, max_size=4
).map("".join)
FUZZ = settings(
    max_examples=4, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def hidden_in(text: str) -> set[str]:
    """Characters that do not show themselves, other than line ends."""
    return {char for char in text if unicodedata.category(char) in HIDDEN and char not in "\n\u200c\u200d"}


def shown_by(terminal: Terminal, text: Any) -> str:
    with terminal.capture() as capture:
        terminal.print(text)
    return capture.get()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("runs/data[v2] [/x] :smile:", "runs/data[v2] [/x] :smile:\n"),
        ("\x1b]0;PWNED\x07\x1b[2Jclean", "\\x1b]0;PWNED\\x07\\x1b[2Jclean\n"),
        (styled(("a\n", "red"), "b\t[bold]"), "a\\nb\\t[bold]\n"),
        (lines(["a\nb", styled(("c", "dim"))]), "a\\nb\nc\n"),
    ],
)
def test_a_string_is_shown_as_it_is_in_one_line(text: Any, shown: str) -> None:
    assert shown_by(Terminal(), text) == shown


def test_a_terminal_gets_styles_and_no_other_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    table = Table("\x1b[2J", title="[/x]\u202e")
    table.add_row(styled(("\x9b1m\nforged", "red")))
    shown = shown_by(Terminal(), table)
    assert "\x1b[31m" in shown
    assert hidden_in(re.sub(r"\x1b\[[\d;]*m", "", shown)) == set()


@pytest.mark.parametrize(
    ("encoding", "shown"), [("latin-1", ["+ café ? ??", "x"]), ("ascii", ["+ caf? ? ??", "x"]), ("utf-8", [])]
)
def test_a_stream_gets_what_it_can_show(encoding: str, shown: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr("sys.stdout", stream)
    table = Table("")
    for row in ("✓ café α ☕", "✗"):
        table.add_row(row)
    Terminal().print(table)
    stream.flush()
    rows = stream.buffer.getvalue().decode(encoding).splitlines()  # type: ignore[attr-defined]
    assert len({len(row) for row in rows}) == 1 or encoding == "utf-8"
    assert [row.strip("| ") for row in rows[3:5]] == shown or (encoding == "utf-8" and "✓ café α ☕" in rows[3])


def test_json_says_the_same_and_hides_nothing(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    value = {"a\x9b": ["\x1b\x7f\u202e\u2028\udc80", "café ☕ 日本 \U000e0001", "\\u202e"], "b": 1.5}
    print_json(value)
    whole = capsysbinary.readouterr().out.decode()
    print_json_line(value)
    line = capsysbinary.readouterr().out.decode()
    assert json.loads(whole) == json.loads(line) == value
    assert hidden_in(whole + line) == set()
    assert "café ☕ 日本" in line
    assert line.count("\n") == 1


def test_a_text_keeps_its_lines(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    print_text("one\n\ttwo ☕\x1b[2J\u202e")
    assert capsysbinary.readouterr().out.decode() == "one\n\ttwo ☕\\x1b[2J\\u202e"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_palette.calibrate(tiny_palette.write(tmp_path_factory.mktemp("foreign") / "palette"))


@pytest.fixture(scope="module")
def manifest(folder: Path) -> Manifest:
    return load(folder).manifest


def check(result: Result, code: int = 0) -> None:
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert hidden_in(result.output) == set()


@pytest.mark.slow
@FUZZ
@given(FOREIGN, FOREIGN, FOREIGN)
@example(ALL, ALL, ALL)
@example("[/x]", "data[v2]", "\x1b]0;PWNED\x07")
def test_what_a_palette_says_of_itself(folder: Path, manifest: Manifest, first: str, second: str, third: str) -> None:
    origin = manifest.provenance.model_copy(
        update={"base_model": first, "base_revision": third, "data": second, "versions": {first: second}}
    )
    entries = [
        entry.model_copy(update={"quality": [entry.quality[0].model_copy(update={"metric": third, "split": "test"})]})
        for entry in manifest.subnets
    ]
    tiny_palette.reseal(folder, provenance=origin, labels=[f"{n}{first}" for n in range(3)], subnets=entries)
    palette = load(folder)
    profile = tiny_palette.profile(palette.manifest)
    device = profile.device.model_copy(update={"board": second, "cpu": third})
    when = profile.conditions.model_copy(update={"date": first})
    write_profile(palette, profile.model_copy(update={"device": device, "conditions": when, "method": first}))
    for arguments in (["inspect"], ["inspect", "--device", "here"], ["verify"]):
        check(invoke(arguments[0], folder, *arguments[1:]))
    shown = invoke("inspect", folder, "--json")
    check(shown)
    assert json.loads(shown.stdout)["provenance"] == origin.model_dump(mode="json")
    for options in ([], ["--json"]):
        check(invoke("run", folder, "lamp", *options))


@FUZZ
@given(FOREIGN)
@example(ALL)
def test_texts_that_are_answered(folder: Path, text: str) -> None:
    line = invoke("run", folder, stdin=json.dumps({"text": text}) + "\n")
    assert hidden_in(line.output) == set()
    record = json.loads(line.stdout)
    assert record["text"] == text
    check(invoke("run", folder, "--", text), line.exit_code)


@pytest.mark.slow
@FUZZ
@given(FOREIGN)
@example(ALL)
def test_words_in_errors(folder: Path, word: str) -> None:
    name = word.replace("\x00", "").replace("/", "")[:80] or "x"
    commands: list[Callable[[], Result]] = [
        lambda: invoke("inspect", "--", f"nowhere/{name}"),
        lambda: invoke("inspect", folder, f"--device={name}"),
        lambda: invoke("devices", "--", f"nowhere {name}"),
        lambda: invoke("profile", folder, f"--lengths={name},"),
    ]
    for command in commands:
        result = command()
        check(result, 1)
        assert sum(line.startswith("edgedistill: ") for line in result.stderr.splitlines()) == 1
    for arguments in ((f"no {name}",), ("inspect", folder, f"more{name}"), ("inspect", folder, f"--no{name}")):
        check(invoke(*arguments), 2)


@FUZZ
@given(FOREIGN, FOREIGN)
@example(ALL, ALL)
def test_what_a_file_of_a_board_says(tmp_path: Path, first: str, second: str) -> None:
    own = tmp_path / "own.toml"
    text = BOARD
    for key, value in (("title", first), ("cpu", second)):
        (line,) = (line for line in text.splitlines() if line.startswith(f"{key} = "))
        text = text.replace(line, f"{key} = {toml(value)}")
    own.write_text(text, encoding="utf-8")
    check(invoke("devices", own))
    shown = invoke("devices", own, "--json")
    check(shown)
    assert (json.loads(shown.stdout)["board"]["title"], json.loads(shown.stdout)["board"]["cpu"]) == (first, second)


def toml(value: str) -> str:
    """A string of TOML that means this."""
    return '"' + "".join(f"\\U{ord(char):08x}" for char in value) + '"'
