"""Small files of the kernel, read at little cost: sensors read dozens of them each second, for years."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["read_match", "read_number", "read_text", "to_number"]

_MOST_BYTES = 1 << 16


def read_text(path: str | Path) -> str | None:
    """What the file says, its first 64 KiB; None where it cannot be read, which drivers say of sensors that are off."""
    # A third of what Path.read_text costs: no buffers, no text layer.
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(file, _MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return None
    finally:
        os.close(file)


def read_number(path: Path) -> int | None:
    """The integer in the file; None where there is none."""
    text = read_text(path)
    return None if text is None else to_number(text)


def read_match(path: Path, pattern: re.Pattern[str]) -> re.Match[str] | None:
    """Where the pattern is in the file; None where that cannot be read.

    Raises:
        ValueError: the file does not say anything of the kind.
    """
    text = read_text(path)
    if text is None:
        return None
    found = pattern.search(text)
    if found is None:
        raise ValueError(f"{path} says {text[:40]!r}")
    return found


def to_number(text: str) -> int | None:
    """An integer; None for "max" and anything else."""
    try:
        return int(text)
    except ValueError:
        return None
