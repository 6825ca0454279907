"""`python -m benchmarks` lists, runs and reports."""

from __future__ import annotations

import importlib

import pytest
from typer.testing import CliRunner

from benchmarks import catalog
from benchmarks.__main__ import app
from benchmarks.report import pages

NAMES = [benchmark.name for benchmark in catalog.benchmarks()]


def test_the_list_names_every_benchmark_under_its_subject() -> None:
    result = CliRunner().invoke(app, ["list"])
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert [line.split(":")[0].strip() for line in lines if line.startswith("  ")] == sorted_by_subject()
    assert any(line.startswith("research: ") for line in lines)


def sorted_by_subject() -> list[str]:
    benchmarks = catalog.benchmarks()
    return [own.name for subject in catalog.subjects() for own in benchmarks if own.subject == subject]


def test_names_are_unique() -> None:
    assert len(NAMES) == len(set(NAMES)) >= 39


def test_a_near_name_is_suggested() -> None:
    result = CliRunner().invoke(app, ["run", "latencyy"])
    assert result.exit_code == 2
    assert result.output == "error: 'latencyy' is not a benchmark; did you mean latency?\n"


def test_a_name_near_none_points_to_the_list() -> None:
    with pytest.raises(catalog.UnknownBenchmarkError, match="'x' is not a benchmark; `python -m benchmarks list`"):
        catalog.benchmark_of("x")


def test_underscores_name_a_benchmark_too() -> None:
    assert catalog.benchmark_of("memory_returns").module == "benchmarks.memory.memory_returns"


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_imports(name: str) -> None:
    module = importlib.import_module(catalog.benchmark_of(name).module)
    assert callable(module.main)


def test_a_stale_page_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    page = pages.PAGES[0]
    monkeypatch.setattr(pages, "stale_pages", lambda: {page: "new"})
    result = CliRunner().invoke(app, ["report", "--check"])
    assert result.exit_code == 1
    assert page.name in result.output
    assert page.read_text(encoding="utf-8") != "new"
