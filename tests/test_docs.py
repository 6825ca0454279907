"""Check what the pages say of the benchmarks."""

from __future__ import annotations

import re

import readme
import tomllib

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


def test_every_direct_dependency_is_in_the_table() -> None:
    project = tomllib.loads((readme.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {"(base)": project["dependencies"], **project["optional-dependencies"]}
    names = {
        (extra, re.split(r"[<>=\[; ]", requirement)[0])
        for extra, requirements in extras.items()
        for requirement in requirements
        if not requirement.startswith("edgedistill[")
    }
    page = (readme.ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `?([\w()]+)`? \| (.+?) \| .+ \|$", page, re.MULTILINE)[1:]
    assert {(extra, name) for extra, packages in rows for name in packages.split(", ")} == names
