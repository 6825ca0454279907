"""Fuzz for a while, and print how many inputs each target took and what became of them.

Usage: python -m tests.fuzz --minutes 10 [--seed 0] [--only TARGET] [--findings FOLDER]

Each target runs in a process of its own, so that an input that kills it, or that it cannot end, is counted too.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import json
import logging
import os
import pickle
import resource
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fuzz.targets import TARGETS, outcome

from edgedistill.errors import EdgeDistillError

_INPUT_S, _MEMORY = 60, 24 << 30


def _fuzz(name: str, seed: int, end_s: float, report: Path, findings: Path) -> None:
    """Try inputs until the time is over; what became of them goes to the report after each."""
    target, counts, seen = TARGETS[name], Counter[str](), set[str]()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    target_file = findings / f"{name}.current"
    number = 0
    while time.monotonic() < end_s:
        given = target.make(Random(f"{name} {seed} {number}"))
        number += 1
        target_file.write_bytes(pickle.dumps(given))
        signal.alarm(_INPUT_S)
        error = outcome(target, given)
        signal.alarm(0)
        kind = "fine" if error is None else "ours" if isinstance(error, EdgeDistillError) else "foreign"
        counts[kind] += 1
        if kind == "foreign" and error is not None:
            lines = "".join(traceback.format_exception(error))
            place = "\n".join(line for line in lines.splitlines() if line.startswith("  File"))
            if place not in seen:
                seen.add(place)
                (findings / f"{name}-{seed}-{number}.txt").write_text(
                    f"{lines}\n{given!r}\n", errors="backslashreplace"
                )
        report.write_text(json.dumps(counts))


def main() -> None:
    """Give each target its share of the time; the exit code is 1 where something foreign came out."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"))
    given = parser.parse_args()
    given.findings.mkdir(parents=True, exist_ok=True)
    names = given.only or list(TARGETS)
    for module in ("datasets", "transformers", "edgedistill.runtime", "edgedistill.distillation.mlfs", "tiny_training"):
        importlib.import_module(module)  # once for all processes
    total = Counter[str]()
    for name in names:
        end_s, seed, counts = time.monotonic() + 60 * given.minutes / len(names), given.seed, Counter[str]()
        while time.monotonic() < end_s:
            report = given.findings / f"{name}.report"
            report.unlink(missing_ok=True)
            status = _in_a_process(name, seed, end_s, report, given.findings)
            counts += Counter(json.loads(report.read_text())) if report.exists() else Counter()
            if status:
                counts["died"] += 1
                (given.findings / f"{name}.current").rename(given.findings / f"{name}-{seed}-died-{status}.pickle")
            seed += 1000
        total += counts
        print(f"{name:20} {dict(counts)}", flush=True)  # noqa: T201
    print(f"{'in all':20} {dict(total)}")  # noqa: T201
    sys.exit(1 if total["foreign"] or total["died"] else 0)


def _in_a_process(name: str, seed: int, end_s: float, report: Path, findings: Path) -> int:
    """Return the process's status: 0 where it came to its end."""
    child = os.fork()
    if child == 0:
        try:
            logging.disable()
            warnings.simplefilter("ignore")
            faulthandler.enable()
            os.dup2(os.open(findings / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
            _fuzz(name, seed, end_s, report, findings)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1]


if __name__ == "__main__":
    main()
