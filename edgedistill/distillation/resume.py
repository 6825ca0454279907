"""Save how far a stage has come, in one file that is replaced as a whole: a killed run goes on from it.

Randomness needs no place in it: batches, subnets and dropout are functions of the seed and the step.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from edgedistill.errors import CheckpointError
from edgedistill.library_errors import disk_errors
from edgedistill.places import install

__all__ = ["FOLDER", "Position", "load_state", "save_state"]

FOLDER = "resume"
_FILE = "state.safetensors"
_KEY = "position"


@dataclass(frozen=True)
class Position:
    """A stage, the steps of it that are done, what they cost, and how its validation went."""

    stage: int
    step: int
    flops: int = 0
    wall_s: float = 0.0
    curve: tuple[float, ...] = ()
    best: int = 0  # the evaluation, from 1, with the best score so far
    ended: bool = False


def save_state(folder: Path, position: Position, tensors: dict[str, Tensor]) -> None:
    """Write ``folder/resume/state.safetensors``, over an earlier one."""
    place = folder / FOLDER
    place.mkdir(exist_ok=True)
    part = place / f".{_FILE}.part"
    metadata = {_KEY: TypeAdapter(Position).dump_json(position).decode()}
    with disk_errors(part):
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, part, metadata)
    install(part, place / _FILE)


def load_state(folder: Path, stage: int) -> tuple[Position, dict[str, Tensor]] | None:
    """Return what was saved of this stage, or None.

    Raises:
        CheckpointError: the file is damaged.
    """
    file = folder / FOLDER / _FILE
    if not file.is_file():
        return None
    try:
        with safe_open(file, "pt") as stored:
            position = TypeAdapter(Position).validate_json(stored.metadata()[_KEY])
            if position.stage != stage:
                return None
            return position, {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValidationError, KeyError, TypeError) as error:
        raise CheckpointError(f"{file} is damaged; delete it to begin stage {stage} anew") from error
