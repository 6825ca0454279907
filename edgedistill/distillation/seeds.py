"""Derive seeds for torch's generators, one for each purpose, from the recipe's seed."""

from __future__ import annotations

import hashlib

__all__ = ["seed_of"]


def seed_of(*parts: object) -> int:
    """Return a number below 2⁶³ that depends on the parts; similar parts give unrelated numbers."""
    digest = hashlib.sha256("-".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
