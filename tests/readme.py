"""The README's code blocks, by the mark above them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def block(mark: str) -> str:
    """The code of the block under ``<!-- mark -->``."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    match = re.search(rf"<!-- {mark} -->\n```\w+\n(.*?)```", text, re.DOTALL)
    assert match, f"the README has no block marked {mark!r}"
    return match[1]
