from __future__ import annotations

from pathlib import Path

import pytest

from edgedistill.device_profiles import load_board, shipped_boards
from edgedistill.errors import BoardError

FIGURES = {"cores", "clock_ghz", "macs_per_cycle", "memory_mb", "memory_bandwidth_gb_s"}
GOOD = """
name = "mine"
title = "My board"
cpu = "Some core"
cores = 4
clock_ghz = 2
macs_per_cycle = 8
memory_mb = 4295
memory_bandwidth_gb_s = 17.1

[sources]
cores = "a data sheet"
clock_ghz = "a data sheet"
macs_per_cycle = "our assumption"
memory_mb = "a data sheet"
memory_bandwidth_gb_s = "a data sheet"
"""


def test_the_boards_of_the_first_release_are_shipped() -> None:
    assert {"pi5", "jetson-orin-nano"} <= set(shipped_boards())


@pytest.mark.parametrize("name", shipped_boards())
def test_every_shipped_board_parses_and_gives_each_figure_a_source(name: str) -> None:
    board = load_board(name)
    assert board.name == name
    assert set(board.sources) == FIGURES
    assert all(len(source) > 10 for source in board.sources.values())


def test_a_board_of_ones_own_is_read_from_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    assert load_board(path) == load_board(str(path))
    assert load_board(path).clock_ghz == 2.0


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("cores = 4", "cores = 4\ncolour = 'red'", "colour: unknown key; expected name, title"),
        ("cores = 4", "", "cores: Field required"),
        ("cores = 4", "cores = 0", "cores: Input should be greater than or equal to 1"),
        ("cores = 4", "cores = '4'", "cores: Input should be a valid integer"),
        ("clock_ghz = 2", "clock_ghz = 2400", "clock_ghz: Input should be less than or equal to 10"),
        ("clock_ghz = 2", "clock_ghz = nan", "clock_ghz: "),
        ('name = "mine"', 'name = "../mine"', "name: "),
        ('memory_mb = "a data sheet"', "", "one entry in [sources] for each figure and no other; wrong: memory_mb"),
        ('memory_mb = "a data sheet"', 'memory_mb = ""', "sources.memory_mb: "),
        ("[sources]", "[sources]\nname = 'me'", "no other; wrong: name"),
        ("[sources]", "[sources", "is no TOML: "),
    ],
)
def test_a_bad_board_is_refused_in_one_line_that_names_file_and_key(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(BoardError) as raised:
        load_board(path)
    message = str(raised.value)
    assert message.startswith(str(path))
    assert told in message
    assert "\n" not in message


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(BoardError, match=r"unknown board 'pi6'; expected one of .*pi5.*, or the path of a \.toml file"):
        load_board("pi6")


@pytest.mark.parametrize("kind", ["absent", "folder", "binary"])
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "mine.toml"
    if kind == "folder":
        path.mkdir()
    elif kind == "binary":
        path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BoardError, match=r"mine\.toml (cannot be read|is no TOML): "):
        load_board(path)
