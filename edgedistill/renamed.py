"""List renamed options and recipe keys, so that an old name is refused with its new one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = ["RENAMED_OPTIONS", "RENAMED_RECIPE_KEYS", "renamed_keys", "renamed_option"]

RENAMED_OPTIONS = {
    "--against": "--cost-metric",
    "--false-accepts": "--false-accept-rate",
    "--picture": "--plot",
    "--profiled": "--profiled-palette",
}
RENAMED_RECIPE_KEYS = {"in_turn": "alternate", "least_steps": "min_steps", "teach": "teacher_source"}

_PARAMETERS = {old: new.removeprefix("--").replace("-", "_") for old, new in RENAMED_OPTIONS.items()}


def renamed_option(names: Iterable[str]) -> str | None:
    """Return a message for the first renamed option or parameter among ``names``; None without one."""
    for name in names:
        option = name if name.startswith("--") else f"--{name.replace('_', '-')}"
        if option in RENAMED_OPTIONS:
            new = RENAMED_OPTIONS[option] if name == option else _PARAMETERS[option]
            return f"{name} is now {new}"
    return None


def renamed_keys(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield a message for each renamed recipe key, those of stages included."""
    for key, value in values.items():
        if key in RENAMED_RECIPE_KEYS:
            yield f"{prefix}{key} is now {prefix}{RENAMED_RECIPE_KEYS[key]}"
        if isinstance(value, Mapping):
            yield from renamed_keys(value, f"{prefix}{key}.")
