"""SentencePiece's precompiled normalizer from a table of replacements, as real models of its kind have one."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from tokenizers import normalizers

_UNITS = 1 << 12


def normalizer(table: Mapping[str, str]) -> normalizers.Normalizer:
    """Make it: a double-array trie of the keys' UTF-8, and the values behind it."""
    values, trie = b"", dict[int, Any]()
    for key, value in table.items():
        node = trie
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[0] = len(values)
        values += value.encode() + b"\0"
    units, used = [0] * _UNITS, {0}
    _place(trie, 0, 0, units, used)
    blob = struct.pack(f"<{_UNITS}I", *units)
    return normalizers.Precompiled(struct.pack("<I", len(blob)) + blob + values)


def _place(node: Mapping[int, Any], place: int, label: int, units: list[int], used: set[int]) -> None:
    base = next(base for base in range(1, _UNITS) if not {base ^ child for child in node} & used)
    used.update(base ^ child for child in node)
    units[place] = (place ^ base) << 10 | (0 in node) << 8 | label
    for child, below in node.items():
        if child == 0:
            units[base] = below | 1 << 31
        else:
            _place(below, base ^ child, child, units, used)
