"""Boards as data: one TOML a board, with a public source beside every figure."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edgedistill.errors import BoardError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Board", "load_board", "shipped_boards"]

_FOLDER = Path(__file__).parent / "boards"
_FIGURES = ("cores", "clock_ghz", "macs_per_cycle", "memory_mb", "memory_bandwidth_gb_s")
_Text = Annotated[str, Field(min_length=1)]


class Board(BaseModel):
    """What the estimator knows of a board. ``name`` is also its profile's file name.

    ``macs_per_cycle``: fp32 multiply-accumulates that one core can do in one cycle. ``memory_mb`` in 10⁶ bytes,
    ``memory_bandwidth_gb_s`` in 10⁹ bytes a second. The bounds catch a slip of units, such as MHz for GHz.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    title: _Text
    cpu: _Text
    cores: Annotated[int, Field(ge=1, le=256)]
    clock_ghz: Annotated[float, Field(ge=0.1, le=10)]
    macs_per_cycle: Annotated[int, Field(ge=1, le=1024)]
    memory_mb: Annotated[float, Field(ge=64, le=1_000_000)]
    memory_bandwidth_gb_s: Annotated[float, Field(ge=0.1, le=2_000)]
    sources: dict[str, _Text]

    @model_validator(mode="after")
    def _sourced(self) -> Board:
        if set(self.sources) != set(_FIGURES):
            wrong = ", ".join(sorted(set(self.sources) ^ set(_FIGURES)))
            raise ValueError(f"expected one entry in [sources] for each figure and no other; wrong: {wrong}")
        return self


def shipped_boards() -> tuple[str, ...]:
    """Names of the boards that come with the package."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def load_board(name_or_path: str | Path) -> Board:
    """A shipped board by its name, or a board of one's own by its TOML's path.

    Raises:
        BoardError: no such board, no TOML, an unknown or missing key, a value out of bounds, a figure without source.
    """
    path = Path(name_or_path)
    if str(name_or_path) in shipped_boards():
        path = _FOLDER / f"{name_or_path}.toml"
    elif path.suffix != ".toml":
        known = ", ".join(shipped_boards())
        raise BoardError(f"unknown board {str(name_or_path)!r}; expected one of {known}, or the path of a .toml file")
    try:
        return Board.model_validate(_read_toml(path))
    except ValidationError as error:
        raise BoardError(f"{path}: {_first_problem(error)}") from error


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BoardError(f"{path} cannot be read: {error.strerror}; expected a board's TOML file") from error
    except ValueError as error:  # tomllib's own error and a wrong encoding are both of this kind
        raise BoardError(f"{path} is no TOML: {error}; expected a file like the shipped boards'") from error


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in first["loc"]) or "board"
    if first["type"] == "extra_forbidden":
        return f"{key}: unknown key; expected {', '.join(Board.model_fields)}"
    return f"{key}: {first['msg']}"
