"""Find the benchmarks, and what their docstrings say, without importing them."""

from __future__ import annotations

import ast
import difflib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.shared.output import ROOT

_FOLDERS = ("benchmarks", "research")
_RECORD = re.compile(r"^Needs: (?P<needs>(?:.+\n)+?)Takes: (?P<takes>.+)$", re.MULTILINE)


class UnknownBenchmarkError(Exception):
    """Say that no benchmark has this name, and which names are near it."""


@dataclass(frozen=True)
class Benchmark:
    """Describe a benchmark as its module's docstring does."""

    name: str
    module: str
    summary: str
    needs: str
    takes: str

    @property
    def subject(self) -> str:
        """Return the name of the folder that the benchmark is in."""
        return self.module.split(".")[-2]


@cache
def benchmarks() -> tuple[Benchmark, ...]:
    """Return all benchmarks and experiments: modules whose docstring says what they need."""
    files = [file for folder in _FOLDERS for file in sorted((ROOT / folder).rglob("*.py"))]
    return tuple(benchmark for file in files if (benchmark := _described(file)))


def _described(file: Path) -> Benchmark | None:
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    record = _RECORD.search(docstring)
    if record is None:
        return None
    return Benchmark(
        name=file.stem.replace("_", "-"),
        module=".".join(file.relative_to(ROOT).with_suffix("").parts),
        summary=docstring.splitlines()[0],
        needs=" ".join(record["needs"].split()),
        takes=record["takes"],
    )


def benchmark_of(name: str) -> Benchmark:
    """Return the benchmark of this name."""
    known = {benchmark.name: benchmark for benchmark in benchmarks()}
    try:
        return known[name.replace("_", "-")]
    except KeyError:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join(near)}?" if near else "`python -m benchmarks list` names all"
        raise UnknownBenchmarkError(f"{name!r} is not a benchmark; {hint}") from None


def subjects() -> dict[str, str]:
    """Return what each folder of benchmarks is about."""
    folders = sorted({Path(ROOT, *benchmark.module.split(".")[:-1]) for benchmark in benchmarks()})
    return {
        folder.name: (ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or "")
        for folder in folders
    }
