"""Read boards as data: one TOML file per board, with a public source next to every figure."""

from __future__ import annotations

import reprlib
import sys
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edgedistill.errors import BoardError
from edgedistill.utf8 import read_text_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Board", "PowerMode", "Recognition", "load_board", "shipped_boards"]

_FOLDER = Path(__file__).parent / "boards"
_UNSOURCED = frozenset({"name", "title", "cpu", "sources"})


def _between(what: str, least: float, most: float) -> Any:
    """Bound a figure: wide enough for any board, too narrow for a wrong unit, such as MHz for GHz."""
    return Field(ge=least, le=most, description=f"{what}, {least:,} to {most:,}")


def _listed(what: str) -> Any:
    return Field(min_length=1, description=f"a list of {what}")


_Text = Annotated[str, Field(min_length=1, description="a text")]
_CORES = _between("a whole number of cores", 1, 256)
_CLOCK = _between("the highest clock of a core in GHz", 0.1, 10)
_CELSIUS = _between("a temperature in °C", 40, 150)
_MEMORY = _between("memory in 10⁶ bytes", 64, 1_000_000)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PowerMode(_Strict):
    """Describe a power mode of a Jetson; ``watts`` is its power budget, None without a cap."""

    name: _Text
    watts: Annotated[float | None, _between("watts that the mode may take", 1, 1000)] = None
    clock_ghz: Annotated[float, _CLOCK]
    cores: Annotated[int, _CORES]


class Recognition(_Strict):
    """Tell this board from others: by any of these parts of the device tree, or by all of these CPU flags."""

    compatible: Annotated[list[_Text] | None, _listed("parts of /proc/device-tree/compatible")] = None
    model: Annotated[list[_Text] | None, _listed("parts of /proc/device-tree/model")] = None
    cpu_flags: Annotated[list[_Text] | None, _listed("flags of /proc/cpuinfo")] = None

    @model_validator(mode="after")
    def _some(self) -> Recognition:
        if not self.model_fields_set:
            raise ValueError("recognised_by is empty; expected compatible, model or cpu_flags in it")
        return self


class Board(_Strict):
    """Describe a board; ``name`` is also the file name of its profile.

    Figures are per core where each core has its own: ``macs_per_cycle`` (fp32 multiply-accumulates),
    ``int8_macs_per_cycle`` (those of dot-product instructions; 0: it has none), ``l1d_kib`` and, if ``l2_shared_by`` is
    1, ``l2_kib``. ``l3_kib`` sums all clusters. ``memory_mb`` is in 10⁶ bytes, ``memory_bandwidth_gb_s`` in 10⁹ bytes a
    second, caches in 2¹⁰ bytes. At ``throttles_at_c`` the cores are slowed down; at ``hard_limit_c`` so is the rest of
    the chip, or the board shuts down. None stands for an unknown figure.
    """

    name: Annotated[
        str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="a name of small letters, digits and '-', as in pi5")
    ]
    title: _Text
    cpu: _Text
    cores: Annotated[int, _CORES]
    clock_ghz: Annotated[float, _CLOCK]
    macs_per_cycle: Annotated[int, _between("multiply-accumulates in fp32 that a core does in a cycle", 1, 1024)]
    int8_macs_per_cycle: Annotated[int | None, _between("the same by int8 dot products, 0 for none", 0, 8192)] = None
    simd: Annotated[list[_Text] | None, _listed("instruction sets as /proc/cpuinfo names them")] = None
    l1d_kib: Annotated[float | None, _between("a core's L1 data cache in KiB", 4, 1024)] = None
    l2_kib: Annotated[float | None, _between("an L2 cache in KiB", 64, 65_536)] = None
    l2_shared_by: Annotated[int | None, _CORES] = None
    l3_kib: Annotated[float | None, _between("all L3 caches in KiB", 256, 1_048_576)] = None
    memory_mb: Annotated[float, _MEMORY]
    memory_sizes_mb: Annotated[
        list[Annotated[float, _MEMORY]] | None, _listed("memory sizes in 10⁶ bytes, 64 to 1,000,000")
    ] = None
    memory_bandwidth_gb_s: Annotated[float, _between("peak bandwidth of memory in 10⁹ bytes a second", 0.1, 2_000)]
    throttles_at_c: Annotated[float | None, _CELSIUS] = None
    hard_limit_c: Annotated[float | None, _CELSIUS] = None
    power_modes: Annotated[list[PowerMode] | None, _listed("tables of name, watts, clock_ghz and cores")] = None
    recognised_by: Annotated[Recognition | None, Field(description="a table of lists of texts")] = None
    sources: Annotated[
        dict[str, _Text],
        Field(description="publisher and title of a public document for each figure, or that it is our assumption"),
    ]

    @property
    def figures(self) -> dict[str, Any]:
        """Return the figures that need a source, by key, in the order of the fields."""
        sourced = self.model_fields_set - _UNSOURCED
        return {name: getattr(self, name) for name in type(self).model_fields if name in sourced}

    @model_validator(mode="after")
    def _sourced(self) -> Board:
        for name in self.figures:
            if name not in self.sources:
                raise ValueError(f"sources.{name} is missing; expected {_description(('sources',))}")
        for name in self.sources:
            if name not in self.figures:
                raise ValueError(f"sources.{name} is the source of nothing; expected {name} among the figures")
        return self

    @model_validator(mode="after")
    def _agreeing(self) -> Board:
        """Reject figures that cannot all be true."""
        if self.memory_sizes_mb is not None and self.memory_mb not in self.memory_sizes_mb:
            raise ValueError(f"memory_sizes_mb lacks memory_mb; expected {self.memory_mb:g} among them")
        if self.l2_shared_by is not None and self.l2_shared_by > self.cores:
            raise ValueError(f"l2_shared_by is {self.l2_shared_by}; expected at most the board's {self.cores} cores")
        if self.throttles_at_c and self.hard_limit_c and self.hard_limit_c < self.throttles_at_c:
            raise ValueError(f"hard_limit_c is {self.hard_limit_c:g}; expected at least throttles_at_c")
        for number, mode in enumerate(self.power_modes or ()):
            if mode.cores > self.cores:
                key = f"power_modes.{number}.cores"
                raise ValueError(f"{key} is {mode.cores}; expected at most the board's {self.cores}")
        return self


def shipped_boards() -> tuple[str, ...]:
    """Return the names of the boards that come with the package."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def load_board(name_or_path: str | Path) -> Board:
    """Load a shipped board by name, or any board by the path of its TOML file.

    Raises:
        BoardError: the board is unknown, the file is not TOML, a key is unknown or missing, a value is out of bounds,
            or a figure has no source.
    """
    path = Path(name_or_path)
    if str(name_or_path) in shipped_boards():
        path = _FOLDER / f"{name_or_path}.toml"
    elif path.suffix != ".toml":
        names = ", ".join(shipped_boards())
        raise BoardError(f"unknown board {str(name_or_path)!r}; expected one of {names}, or the path of a .toml file")
    try:
        return Board.model_validate(_read_toml(path))
    except ValidationError as error:
        raise BoardError(f"{path}: {_first_problem(error)}") from error


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text_file(path))
    except OSError as error:
        raise BoardError(f"{path} cannot be read: {error.strerror}; expected a board's TOML file") from error
    except ValueError as error:  # tomllib's own error and a wrong encoding are both of this kind
        raise BoardError(f"{path} is not TOML: {error}; expected a file like the shipped boards'") from error


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        model, _ = _field_of(first["loc"])
        return f"{key} is an unknown key; expected {', '.join(model.model_fields)}"
    wrong = "missing" if first["type"] == "missing" else reprlib.repr(first["input"])
    return f"{key} is {wrong}; expected {_description(first['loc'])}"


def _field_of(loc: tuple[int | str, ...]) -> tuple[type[_Strict], str]:
    """Return the model and the field of a location in the file; an entry of a list belongs to the list's field."""
    within: dict[int | str, type[_Strict]] = {"power_modes": PowerMode, "recognised_by": Recognition}
    inner = next((part for part in loc[1:] if isinstance(part, str)), None)
    if inner is not None and loc[0] in within:
        return within[loc[0]], inner
    return Board, str(loc[0])


def _description(loc: tuple[int | str, ...]) -> str:
    model, name = _field_of(loc)
    return model.model_fields[name].description or ""
