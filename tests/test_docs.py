"""Check what the pages say of the benchmarks."""

from __future__ import annotations

import re

import readme

from benchmarks import catalog
from benchmarks.report import pages


def test_every_result_is_on_a_page_as_it_is() -> None:
    assert not pages.stale_pages(), "run python -m benchmarks report"
    assert pages.result_files()
    assert not pages.missing_results()


def test_every_benchmark_that_a_page_names_exists() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in [*pages.PAGES, readme.ROOT / "README.md"])
    named = set(re.findall(r"(?:[Bb]enchmark|[Ee]xperiment) `([a-z0-9-]+)`|benchmarks run ([a-z0-9-]+)", text))
    assert len(named) > 30
    for name, run in named:
        catalog.benchmark_of(name or run)
