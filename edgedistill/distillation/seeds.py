"""Seeds for torch's generators, one for each purpose, from the recipe's one."""

from __future__ import annotations

import hashlib

__all__ = ["seed_of"]


def seed_of(*parts: object) -> int:
    """A number below 2⁶³ that the parts decide, and that tells near ones apart."""
    digest = hashlib.sha256("-".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
