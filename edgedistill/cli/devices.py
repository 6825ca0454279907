"""``edgedistill devices``: the boards that estimates are made for, each figure with its source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edgedistill.cli.common import AsJson, reported
from edgedistill.cli.output import lines, print_json, standard_output, styled

if TYPE_CHECKING:
    from edgedistill.device_profiles import Board
    from edgedistill.device_profiles.board_detection import Machine
    from edgedistill.device_profiles.boards import PowerMode

__all__ = ["devices"]


@reported
def devices(
    board: Annotated[
        str | None, typer.Argument(help="A board's name, or the path of a TOML of your own; default: all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the boards that --device of 'search' and 'export' knows, and which of them this machine is.

    With a board, show each of its figures with its public source; a file of your own is checked this way.

    Example: edgedistill devices pi5
    """
    from edgedistill.device_profiles.board_detection import detect_board, this_machine

    machine = this_machine()
    if board is not None:
        _show_one(board, machine, as_json)
        return
    boards, here = _shipped(), detect_board(machine)
    if as_json:
        recognised = {"model": machine.model, "cpu": machine.cpu, "board": None if here is None else here.name}
        print_json({"boards": [board.model_dump() for board in boards], "this_machine": recognised})
    else:
        out = standard_output()
        out.print(_table(boards, here))
        out.print(_verdict(machine, here))


def _shipped() -> list[Board]:
    from edgedistill.device_profiles import load_board, shipped_boards

    return [load_board(name) for name in shipped_boards()]


def _show_one(name_or_path: str, machine: Machine, as_json: bool) -> None:
    from edgedistill.device_profiles import load_board
    from edgedistill.device_profiles.board_detection import is_board

    board = load_board(name_or_path)
    is_here = is_board(machine, board)
    if as_json:
        print_json({"board": board.model_dump(), "is_this_machine": is_here})
        return
    here = "; this machine" if is_here else ""
    table = Table("figure", "", "source", title=f"{board.title}: {board.cpu}{here}", box=SIMPLE_HEAD)
    for name, value in board.figures.items():
        table.add_row(name, lines(_written(value)), board.sources[name])
    standard_output().print(table)


def _table(boards: list[Board], here: Board | None) -> Table:
    """Return a row per board, within 80 columns."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("board", no_wrap=True)
    table.add_column("")
    for column in ("cores x GHz", "memory GB"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("SIMD")
    table.add_column(lines(["int8 dot", "products"]), justify="right", no_wrap=True)
    for board in boards:
        int8 = board.int8_macs_per_cycle
        table.add_row(
            styled(f"{board.name} ", ("✓", "green")) if board == here else board.name,
            board.title,
            f"{board.cores} x {board.clock_ghz:g}",
            f"{board.memory_mb / 1e3:.1f}",
            " ".join(board.simd or ()),
            f"{int8} a cycle" if int8 else "none",
        )
    return table


def _verdict(machine: Machine, here: Board | None) -> Text:
    verdict = "none of these; 'edgedistill profile' measures it all the same" if here is None else here.name
    return styled(("this machine", "dim"), f" {machine.model}, {machine.cpu}: {verdict}")


def _written(value: Any) -> list[str]:
    """Return the lines of a figure."""
    from edgedistill.device_profiles.boards import PowerMode, Recognition

    if isinstance(value, Recognition):
        return [f"{key}: {', '.join(names)}" for key, names in value.model_dump(exclude_none=True).items()]
    if isinstance(value, list) and isinstance(value[0], PowerMode):
        return [_mode(mode) for mode in value]
    values = value if isinstance(value, list) else [value]
    return [", ".join(value if isinstance(value, str) else f"{value:g}" for value in values)]


def _mode(mode: PowerMode) -> str:
    cap = "no cap" if mode.watts is None else f"{mode.watts:g} W"
    return f"{mode.name}: {mode.cores} x {mode.clock_ghz:g} GHz, {cap}"
