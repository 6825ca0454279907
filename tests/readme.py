"""The code blocks of the README and of the pages in docs, by the mark above them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def block(mark: str, page: str = "README.md") -> str:
    """The code of the block under ``<!-- mark -->``."""
    text = (ROOT / page).read_text(encoding="utf-8")
    match = re.search(rf"<!-- {mark} -->\n```\w+\n(.*?)```", text, re.DOTALL)
    assert match, f"{page} has no block marked {mark!r}"
    return match[1]
