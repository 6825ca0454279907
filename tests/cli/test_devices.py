"""``devices``: the boards, where their figures are from, and which of them this machine is."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from commands import invoke, one_line

from edgedistill.device_profiles import board_detection, load_board, shipped_boards

BOARDS = Path(board_detection.__file__).parent / "boards"


@pytest.fixture
def on_pi5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine is a Raspberry Pi 5."""
    root = tmp_path / "root"
    (root / "proc/device-tree").mkdir(parents=True)
    (root / "proc/device-tree/model").write_text("Raspberry Pi 5 Model B Rev 1.0\0")
    monkeypatch.setattr(board_detection, "this_machine", partial(board_detection.this_machine, root))


@pytest.fixture
def on_toaster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine is none of the boards."""
    monkeypatch.setattr(board_detection, "this_machine", partial(board_detection.this_machine, tmp_path / "nothing"))


def test_the_table_has_every_board_and_marks_this_machine(on_pi5: None) -> None:
    shown = invoke("devices")
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines[:-1])
    rows = {name: next(line for line in lines if line.split()[:1] == [name]) for name in shipped_boards()}
    assert [name for name, row in rows.items() if "✓" in row] == ["pi5"]
    for word in ("4 x 2.4", "8.6", "asimd", "32 a cycle"):
        assert word in rows["pi5"]
    assert "none" in rows["pi4"]
    assert "Raspberry Pi 5 Model B Rev 1.0" in shown.stdout
    assert shown.stdout.rstrip().endswith("pi5")


def test_a_machine_that_is_none_of_them_is_told_so(on_toaster: None) -> None:
    shown = invoke("devices")
    assert shown.exit_code == 0, shown.output
    assert "✓" not in shown.stdout
    assert "none of these" in shown.stdout
    assert json.loads(invoke("devices", "--json").stdout)["this_machine"]["board"] is None


def test_the_document_of_all_boards(on_pi5: None) -> None:
    document = json.loads(invoke("devices", "--json").stdout)
    assert [board["name"] for board in document["boards"]] == list(shipped_boards())
    assert document["this_machine"]["board"] == "pi5"
    assert document["this_machine"]["model"] == "Raspberry Pi 5 Model B Rev 1.0"


@pytest.mark.parametrize("name", shipped_boards())
def test_every_figure_of_one_board_is_shown_with_its_source(on_pi5: None, name: str) -> None:
    board = load_board(name)
    shown = invoke("devices", name)
    assert shown.exit_code == 0, shown.output
    words = shown.stdout.split()
    for figure, source in board.figures.items():
        assert figure in words
        assert board.sources[figure].split()[0] in words, source
    assert ("this machine" in " ".join(words)) == (name == "pi5")
    for mode in board.power_modes or ():
        assert f"{mode.name}:" in words
    document = json.loads(invoke("devices", name, "--json").stdout)
    assert document["board"]["sources"] == board.sources
    assert document["is_this_machine"] == (name == "pi5")


def test_a_file_of_ones_own_is_shown_alike(on_pi5: None, tmp_path: Path) -> None:
    own = tmp_path / "my-board.toml"
    own.write_text((BOARDS / "pi5.toml").read_text(encoding="utf-8").replace('name = "pi5"', 'name = "my-board"'))
    shown = invoke("devices", own)
    assert shown.exit_code == 0, shown.output
    assert "this machine" in " ".join(shown.stdout.split())
    assert json.loads(invoke("devices", own, "--json").stdout)["board"]["name"] == "my-board"


def test_bad_boards_are_one_line(on_pi5: None, tmp_path: Path) -> None:
    one_line(invoke("devices", "pi6"), "unknown board 'pi6'; expected one of")
    own = tmp_path / "my-board.toml"
    one_line(invoke("devices", own), "my-board.toml cannot be read")
    own.write_text((BOARDS / "pi5.toml").read_text(encoding="utf-8").replace("clock_ghz = 2.4", "clock_ghz = 2400"))
    one_line(invoke("devices", own, "--json"), "my-board.toml: clock_ghz is 2400; expected the highest clock")
