"""The picture of a search: names of others are text, never a formula, and the file stays well-formed."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import minilm
import pytest

from edgedistill.subnet_search import SearchLimits, Terms, search
from edgedistill.subnet_search.plot import plot_search

QUALITIES = {subnet: 0.5 + minilm.share(subnet) ** 0.5 / 2 for subnet in minilm.SPACE}


@pytest.mark.parametrize(
    "name", ["$x_1$", r"$\frac", "a $ b", "<svg onload='x'> --> &amp;", "\x1b[2J\x00\u202e\ufffe", "日本 ☕", "a\nb"]
)
def test_names_are_drawn_as_they_are(tmp_path: Path, name: str) -> None:
    found = search(QUALITIES, Terms(minilm.ARCH, 64, "parameters", SearchLimits(), None), 4)
    for ending in ("svg", "png"):
        plot_search(replace(found, source=name), name, tmp_path / f"picture.{ending}")
    text = (tmp_path / "picture.svg").read_text(encoding="utf-8")
    assert {unicodedata.category(char) for char in text if char != "\n"}.isdisjoint({"Cc", "Cf", "Cs", "Co", "Cn"})
    assert not list(ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}script"))  # noqa: S314 (ours)
