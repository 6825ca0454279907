"""Strings of others on a terminal and in a log: nothing hidden, nothing lost."""

from __future__ import annotations

import io
import logging
import unicodedata
from pathlib import Path

import pytest
import tiny_palette
from hypothesis import given
from hypothesis import strategies as st

from edgedistill.errors import PaletteError
from edgedistill.palette import load
from edgedistill.printable import get_logger, printable

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("café ☕ 日本語", "café ☕ 日本語"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\x9b2Jb\x7f", r"a\x9b2Jb\x7f"),
        ("two\nlines\r\t", r"two\nlines\r\t"),
        ("\u202eoleh\u2069", r"\u202eoleh\u2069"),
        ("a\u2028b\ufeff\udc80\U000e0001", r"a\u2028b\ufeff\udc80\U000e0001"),
        ("می\u200cخواهم 👩\u200d🔬 a\u00a0b", "می\u200cخواهم 👩\u200d🔬 a\u00a0b"),
    ],
)
def test_what_hides_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(codec=None)))
def test_any_text_has_nothing_hidden_left(text: str) -> None:
    shown = printable(text)
    assert {unicodedata.category(char) for char in shown if char not in "\u200c\u200d"}.isdisjoint(HIDDEN)
    assert printable(shown) == shown


def test_layout_may_stay() -> None:
    assert printable("a\tb\nc\x1b", "\n") == "a\\tb\nc\\x1b"


def test_an_error_is_one_line_whatever_it_quotes() -> None:
    assert str(PaletteError("folder\x1b[2J:\n  damaged\u2028;\u202e")) == r"folder\x1b[2J: damaged ;\u202e"


def test_records_and_tracebacks_of_a_log_are_escaped() -> None:
    stream = io.StringIO()
    logger = get_logger("edgedistill.tests.printable")
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    try:
        logger.warning("%s goes on serving: %s", "a\nforged line", OSError("\x1b[2J"))
        try:
            raise ValueError("\x9b31m")
        except ValueError:
            logger.exception("failed\x07")
    finally:
        logger.removeHandler(handler)
    first, second, *trace = stream.getvalue().splitlines()
    assert first == r"a\nforged line goes on serving: \x1b[2J"
    assert second == r"failed\x07"
    assert trace[0] == "Traceback (most recent call last):"
    assert trace[-1] == r"ValueError: \x9b31m"


@pytest.mark.parametrize("name", ["", "a b", "a/b", ".hidden", "x\x1b[2J", "[/x]", "a\n", "x" * 129])
def test_names_of_subnets_are_plain(tmp_path: Path, name: str) -> None:
    folder = tiny_palette.write(tmp_path / "palette")
    first, *others = load(folder).manifest.subnets
    tiny_palette.reseal(folder, subnets=[first.model_copy(update={"name": name}), *others])
    with pytest.raises(PaletteError, match=r"subnets\.0\.name: String should match pattern"):
        load(folder)
