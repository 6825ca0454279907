"""Format tables and numbers for the pages of docs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Result = dict[str, Any]  # what a benchmark kept


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown; the first column is words, the others are numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(value: float) -> str:
    """Format a score of at most 1 as points."""
    return f"{100 * value:.2f}"


def interval(difference: Sequence[float]) -> str:
    """Points with their interval."""
    value, low, high = difference
    return f"{value:+.2f} ({low:+.2f} to {high:+.2f})"
