"""Log progress, and save what a benchmark measured."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
FINDINGS = ROOT / "research" / "results"


def log(text: str) -> None:
    """Print a line of progress to standard error."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def save_result(name: str, result: Mapping[str, Any]) -> None:
    """Write a benchmark's result to `benchmarks/results`, and print it as the last line."""
    _save(RESULTS, name, result)


def save_finding(name: str, result: Mapping[str, Any]) -> None:
    """Write an experiment's result to `research/results`, and print it as the last line."""
    _save(FINDINGS, name, result)


def _save(folder: Path, name: str, result: Mapping[str, Any]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))
