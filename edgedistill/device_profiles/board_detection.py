"""Which board this machine is: by its device tree, or by its processor's instruction sets."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from edgedistill.device_profiles.boards import Board, load_board, shipped_boards
from edgedistill.runtime.device import board_name, cpu_name
from edgedistill.runtime.kernel_files import read_text

__all__ = ["Machine", "detect_board", "is_board", "this_machine"]


class Machine(NamedTuple):
    """What a machine says of itself. ``model`` is what its profiles carry as their board."""

    model: str
    cpu: str
    compatible: tuple[str, ...]
    cpu_flags: frozenset[str]


def this_machine(root: Path = Path("/")) -> Machine:
    """What this machine says of itself, below a folder that stands for "/"."""
    compatible = read_text(root / "proc/device-tree/compatible") or ""
    return Machine(
        model=board_name(root),
        cpu=cpu_name(root),
        compatible=tuple(filter(None, compatible.split("\0"))),
        cpu_flags=_cpu_flags(root),
    )


def detect_board(machine: Machine) -> Board | None:
    """The shipped board that the machine is; None where none fits."""
    return next((board for board in map(load_board, shipped_boards()) if is_board(machine, board)), None)


def is_board(machine: Machine, board: Board) -> bool:
    """Whether the machine is this board.

    ``compatible`` decides where both have it: it names the module, while a carrier board's maker may write any
    ``model``, and modules of one name can differ in cores.
    """
    by = board.recognised_by
    if by is None:
        return False
    if by.compatible and machine.compatible:
        return any(part in entry for part in by.compatible for entry in machine.compatible)
    if by.model and any(part in machine.model for part in by.model):
        return True
    return by.cpu_flags is not None and machine.cpu_flags.issuperset(by.cpu_flags)


def _cpu_flags(root: Path) -> frozenset[str]:
    """Of the first core: Arm's kernel calls them "Features"."""
    for line in (read_text(root / "proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in {"flags", "Features"}:
            return frozenset(value.split())
    return frozenset()
