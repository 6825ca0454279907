"""Which sequence lengths a profile speaks of."""

from __future__ import annotations

from collections.abc import Iterable

from edgedistill.manifest import Palette

__all__ = ["DEFAULT_LENGTHS", "usable_lengths"]

DEFAULT_LENGTHS = (16, 64, 128)


def usable_lengths(palette: Palette, lengths: Iterable[int]) -> tuple[int, ...]:
    """``lengths`` in tokens, ascending, none longer than the palette takes: a longer one becomes its longest."""
    longest = palette.manifest.tokenizer.max_tokens
    return tuple(sorted({min(length, longest) for length in lengths}))
