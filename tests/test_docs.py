"""The pages say what the benchmarks' last results say, all of them."""

from __future__ import annotations

import subprocess
import sys

import readme

BENCHMARKS = readme.ROOT / "benchmarks"


def test_every_result_is_on_a_page_as_it_is() -> None:
    report = subprocess.run(
        [sys.executable, BENCHMARKS / "report.py", "--check"], capture_output=True, text=True, check=False
    )
    assert report.returncode == 0, report.stderr or "run python benchmarks/report.py"
    pages = "".join(page.read_text(encoding="utf-8") for page in (readme.ROOT / "docs").glob("*.md"))
    results = sorted((BENCHMARKS / "results").glob("*.json"))
    assert results
    for result in results:
        assert f"<!-- {result.stem} -->" in pages, result.name
