"""Detect which board this machine is, by its device tree or its processor's instruction sets."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from edgedistill.device_profiles.boards import Board, load_board, shipped_boards
from edgedistill.runtime.device import board_name, cpu_name
from edgedistill.runtime.kernel_files import read_text

__all__ = ["Machine", "detect_board", "is_board", "this_machine"]


class Machine(NamedTuple):
    """Hold what a machine reports of itself; ``model`` is the board in its profiles."""

    model: str
    cpu: str
    compatible: tuple[str, ...]
    cpu_flags: frozenset[str]


def this_machine(root: Path = Path("/")) -> Machine:
    """Read what this machine reports of itself, below ``root``, which stands for "/"."""
    compatible = read_text(root / "proc/device-tree/compatible") or ""
    return Machine(
        model=board_name(root),
        cpu=cpu_name(root),
        compatible=tuple(filter(None, compatible.split("\0"))),
        cpu_flags=_cpu_flags(root),
    )


def detect_board(machine: Machine) -> Board | None:
    """Return the shipped board that the machine is; None if it is none of them."""
    return next((board for board in map(load_board, shipped_boards()) if is_board(machine, board)), None)


def is_board(machine: Machine, board: Board) -> bool:
    """Return whether the machine is this board.

    ``compatible`` decides if both have it: it names the module. A carrier board's maker may write any ``model``, and
    modules of the same name can differ in cores.
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
    """Return the flags of the first core; Arm's kernel calls them "Features"."""
    for line in (read_text(root / "proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in {"flags", "Features"}:
            return frozenset(value.split())
    return frozenset()
