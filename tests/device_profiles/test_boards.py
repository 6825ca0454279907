from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgedistill.device_profiles import load_board, shipped_boards
from edgedistill.device_profiles.boards import Board
from edgedistill.errors import BoardError

SHIPPED = {"pi4", "pi5", "pi-zero-2w", "jetson-orin-nano", "jetson-orin-nx", "jetson-agx-orin", "x86-64-avx2"}
EVERY_SHIPPED = {
    "cores", "clock_ghz", "macs_per_cycle", "int8_macs_per_cycle", "simd", "l1d_kib", "l2_kib", "l2_shared_by",
    "memory_mb", "memory_bandwidth_gb_s", "recognised_by",
}  # fmt: skip
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
MODE = "[[power_modes]]\nname = 'low'\nwatts = {watts}\nclock_ghz = {clock_ghz}\ncores = {cores}\n"


def _with_mode(watts: object = 7, clock_ghz: object = 1, cores: object = 2) -> str:
    return MODE.format(watts=watts, clock_ghz=clock_ghz, cores=cores) + "[sources]\npower_modes = 'a manual'"


def _refusal(path: Path, old: str, new: str) -> str:
    """What is said of a file that is good but for one place."""
    assert old in GOOD
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(BoardError) as raised:
        load_board(path)
    return str(raised.value)


def test_these_boards_are_shipped() -> None:
    assert set(shipped_boards()) == SHIPPED


@pytest.mark.parametrize("name", shipped_boards())
def test_every_shipped_board_parses_and_gives_each_figure_a_source(name: str) -> None:
    board = load_board(name)
    assert board.name == name
    assert set(board.figures) >= EVERY_SHIPPED
    assert set(board.sources) == set(board.figures)
    for figure, source in board.sources.items():
        assert re.match(r"our assumption: .{5}|[A-Z][\w ]+, .{10}", source), f"{figure}: {source}"


@pytest.mark.parametrize("name", shipped_boards())
def test_the_figures_of_a_shipped_board_agree(name: str) -> None:
    board = load_board(name)
    has_dot_products = bool({"asimddp", "avx_vnni", "avx512_vnni"} & set(board.simd or ()))
    assert has_dot_products == bool(board.int8_macs_per_cycle)
    assert (board.power_modes is not None) == name.startswith("jetson")
    assert (board.throttles_at_c is None) == name.startswith("x86")
    if board.power_modes is not None:
        assert max(mode.cores for mode in board.power_modes) == board.cores
        assert max(mode.clock_ghz for mode in board.power_modes) >= board.clock_ghz
        assert all(mode.watts is not None or mode.name.startswith("MAXN") for mode in board.power_modes)


def test_a_board_of_ones_own_is_read_from_its_path_and_may_know_little(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    board = load_board(path)
    assert board == load_board(str(path))
    assert board.clock_ghz == 2.0
    assert (board.int8_macs_per_cycle, board.power_modes) == (None, None)
    assert set(board.figures) == set(board.sources)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("cores = 4", "cores = 4\ncolour = 'red'", "colour is an unknown key; expected name, title"),
        ("cores = 4", "", "cores is missing; expected a whole number of cores, 1 to 256"),
        ("cores = 4", "cores = 0", "cores is 0; expected a whole number of cores, 1 to 256"),
        ("cores = 4", "cores = '4'", "cores is '4'; expected a whole number"),
        ("cores = 4", "cores = true", "cores is True; expected a whole number"),
        ("cores = 4", "cores = 4.5", "cores is 4.5; expected a whole number"),
        ("clock_ghz = 2", "clock_ghz = nan", "clock_ghz is nan; expected the highest clock of a core in GHz, 0.1 to"),
        ('name = "mine"', 'name = "../mine"', "name is '../mine'; expected a name of small letters"),
        ("cores = 4", "cores = 4\nsimd = 'avx2'", "simd is 'avx2'; expected a list of instruction sets"),
        ("cores = 4", "cores = 4\nsimd = []", "simd is []; expected a list of instruction sets"),
        ("cores = 4", "cores = 4\nl2_shared_by = 8", "l2_shared_by is 8; expected at most the board's 4 cores"),
    ],
)
def test_a_bad_value_is_refused_in_one_line(tmp_path: Path, old: str, new: str, told: str) -> None:
    if "l2_shared_by" in new:
        old, new = GOOD, GOOD.replace(old, new).replace("[sources]", "[sources]\nl2_shared_by = 'a manual'")
    message = _refusal(tmp_path / "mine.toml", old, new)
    assert message.startswith(f"{tmp_path / 'mine.toml'}: {told}")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("figure", "slip"),
    [
        ("clock_ghz", "2400"),  # MHz
        ("memory_mb", "8"),  # GB
        ("memory_mb", "8_589_934_592"),  # bytes
        ("memory_bandwidth_gb_s", "17_100"),  # MB a second
        ("macs_per_cycle", "19_200_000_000"),  # a second
        ("l1d_kib", "65_536"),  # bytes
        ("l2_kib", "1"),  # MiB
        ("l3_kib", "2"),  # MiB
        ("throttles_at_c", "80_000"),  # thousandths, as in /sys
        ("hard_limit_c", "358"),  # kelvin
        ("int8_macs_per_cycle", "76_800_000_000"),  # a second
        ("memory_sizes_mb", "[8]"),  # GB
    ],
)
def test_a_slip_of_units_is_refused(tmp_path: Path, figure: str, slip: str) -> None:
    line = re.search(rf"^{figure} = [\d.]+$", GOOD, re.MULTILINE)
    old, new = (line[0], "") if line else ("cores = 4", "cores = 4\n")
    message = _refusal(tmp_path / "mine.toml", old, f"{new}{figure} = {slip}")
    assert re.match(rf"\S+mine\.toml: {figure}(\.0)? is [\d.]+; expected ", message)
    assert re.search(r"GHz|bytes|KiB|°C|in a cycle|int8", message.partition("expected")[2])


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('memory_mb = "a data sheet"', "", "sources.memory_mb is missing; expected publisher and title of a public"),
        ('memory_mb = "a data sheet"', 'memory_mb = ""', "sources.memory_mb is ''; expected publisher and title"),
        ("cores = 4", "cores = 4\nl3_kib = 2048", "sources.l3_kib is missing; expected publisher and title"),
        ("[sources]", "[sources]\nname = 'me'", "sources.name is the source of nothing; expected name among"),
        ("[sources]", "[sources]\nl3_kib = 'me'", "sources.l3_kib is the source of nothing; expected l3_kib among"),
        ("[sources]", "[others]", "sources is missing; expected publisher and title"),
        ("[sources]", "sources = 'a book'\n[others]", "sources is 'a book'; expected publisher and title"),
    ],
)
def test_a_figure_needs_a_source_and_a_source_a_figure(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert _refusal(tmp_path / "mine.toml", old, new).startswith(f"{tmp_path / 'mine.toml'}: {told}")


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        (_with_mode(watts=7000), "power_modes.0.watts is 7000; expected watts that the mode may take, 1 to 1,000"),
        (_with_mode(clock_ghz=960), "power_modes.0.clock_ghz is 960; expected the highest clock of a core in GHz"),
        (_with_mode(cores=6), "power_modes.0.cores is 6; expected at most the board's 4"),
        (_with_mode().replace("cores", "core", 1), "power_modes.0.cores is missing; expected a whole number"),
        (_with_mode().replace("watts", "watt"), "power_modes.0.watt is an unknown key; expected name, watts,"),
        ("[recognised_by]\n[sources]\nrecognised_by = 'a tree'", "recognised_by is empty; expected compatible,"),
        ("[recognised_by]\nmodel = 'Pi'\n[sources]", "recognised_by.model is 'Pi'; expected a list of parts of"),
    ],
)
def test_the_tables_of_a_board_are_checked_alike(tmp_path: Path, mode: str, told: str) -> None:
    assert _refusal(tmp_path / "mine.toml", "[sources]", mode).startswith(f"{tmp_path / 'mine.toml'}: {told}")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"memory_sizes_mb": [1074.0]}, "memory_sizes_mb lacks memory_mb; expected 8590 among them"),
        ({"hard_limit_c": 70.0}, "hard_limit_c is 70; expected at least throttles_at_c"),
    ],
)
def test_figures_that_cannot_all_be_true_are_refused(changed: dict[str, object], told: str) -> None:
    figures = load_board("pi5").model_dump(exclude_none=True)
    assert Board.model_validate(figures).name == "pi5"
    with pytest.raises(ValueError, match=told):
        Board.model_validate(figures | changed)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(BoardError, match=r"unknown board 'pi6'; expected one of .*pi5.*, or the path of a \.toml file"):
        load_board("pi6")


def test_what_is_no_toml_is_refused(tmp_path: Path) -> None:
    message = _refusal(tmp_path / "mine.toml", "[sources]", "[sources")
    assert re.match(r"\S+mine\.toml is not TOML: .*; expected a file like the shipped boards'$", message)


@pytest.mark.parametrize("kind", ["absent", "folder", "binary"])
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "mine.toml"
    if kind == "folder":
        path.mkdir()
    elif kind == "binary":
        path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BoardError, match=r"mine\.toml (cannot be read|is not TOML): .*; expected a "):
        load_board(path)
