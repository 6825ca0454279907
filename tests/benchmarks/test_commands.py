"""`python -m benchmarks` lists, runs and reports."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks import catalog
from benchmarks.__main__ import app, command_of
from benchmarks.report import pages
from benchmarks.shared import data_sets, training_runs
from benchmarks.shared.output import ROOT
from benchmarks.swapping import long_life
from edgedistill.errors import EdgeDistillError

NAMES = [benchmark.name for benchmark in catalog.benchmarks()]


def test_the_list_names_every_benchmark_under_its_subject() -> None:
    result = CliRunner().invoke(app, ["list"])
    assert result.exit_code == 0
    lines = result.output.splitlines()
    names = [line.split(":")[0].strip() for line in lines if re.match("  [a-z]", line)]
    assert names == sorted_by_subject()
    assert lines.count("      needs nothing; takes 1 minute") == 1
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
def test_every_benchmark_imports_and_shows_its_record(name: str) -> None:
    benchmark = catalog.benchmark_of(name)
    assert all((benchmark.summary, benchmark.needs, benchmark.takes))
    result = CliRunner().invoke(command_of(benchmark), ["--help"])
    assert result.exit_code == 0, result.output
    assert benchmark.summary in " ".join(result.output.split())
    assert f"Takes: {benchmark.takes}" in result.output


def test_a_folder_without_a_palette_is_one_clear_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(command_of(catalog.benchmark_of("private-copy")), [str(tmp_path)])
    assert result.exit_code == 2
    assert re.fullmatch(r"error: .* is not a palette: it has no manifest.json; .*\n", result.output)


def test_missing_data_is_a_usage_error(tmp_path: Path) -> None:
    command = command_of(catalog.benchmark_of("constant-cost"))
    result = CliRunner().invoke(command, [str(tmp_path / "nowhere"), str(tmp_path)])
    assert result.exit_code == 2
    assert "Invalid value for 'DATA'" in result.output
    result = CliRunner().invoke(command, [str(tmp_path), str(tmp_path / "work")])
    assert "is not a data set of the benchmarks; expected a folder named clinc150, sst2, stsb" in result.output


def test_a_palette_that_another_benchmark_trains_is_named(tmp_path: Path) -> None:
    (tmp_path / "stsb").mkdir()
    with pytest.raises(EdgeDistillError, match="run `python -m benchmarks run separate-distillation stsb"):
        training_runs.trained_palette(data_sets.DATA_SETS["stsb"], tmp_path, 0.5)


def test_the_exit_code_of_a_benchmark_is_that_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = catalog.benchmark_of("long-life")
    monkeypatch.setattr(long_life, "lived", lambda requests: {"requests": requests})
    for held, code in ((True, 0), (False, 1)):
        monkeypatch.setattr(long_life, "held", lambda _, held=held: held)
        result = CliRunner().invoke(command_of(benchmark), ["--requests", "7"])
        assert (result.exit_code, result.output) == (code, '{"requests": 7}\n')


def test_a_stale_page_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    page = pages.PAGES[0]
    monkeypatch.setattr(pages, "stale_pages", lambda: {page: "new"})
    result = CliRunner().invoke(app, ["report", "--check"])
    assert result.exit_code == 1
    assert page.name in result.output
    assert page.read_text(encoding="utf-8") != "new"


def test_the_files_that_docstrings_name_exist() -> None:
    sources = [file for folder in ("benchmarks", "research") for file in (ROOT / folder).rglob("*.py")]
    text = "".join(re.match('""".*?"""', file.read_text(encoding="utf-8"), re.DOTALL)[0] for file in sources)
    existing = {
        file.name for folder in ("benchmarks", "research", "edgedistill") for file in (ROOT / folder).rglob("*.py")
    }
    assert set(re.findall(r"\w+\.py\b", text)) - existing == set()
