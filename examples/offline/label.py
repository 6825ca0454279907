"""Label a folder's text files, best quality first, into a JSON Lines file; the same command goes on after a kill.

Usage: python label.py PALETTE FOLDER RESULTS [--max-memory-mb 200]
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

from edgedistill.errors import DataError, EdgeDistillError, InputError, RunError
from edgedistill.runtime import TextClassifier

BATCH = 32
MOST_CHARACTERS = 1 << 17  # more than a model reads of a text
BEGINNING = b'{"document": '


def finished(results: BinaryIO) -> dict[str, bool]:
    """Return whether each document in the results has an answer, and drop a line that a kill cut short."""
    found, end = {}, 0
    results.seek(0)
    for number, line in enumerate(results, start=1):
        if line[: len(BEGINNING)] != BEGINNING[: len(line)]:  # another program's file is not cut, nor added to
            raise DataError(f"line {number} of {results.name} is not a result of this program; give another file")
        if line.endswith(b"\n"):
            record = json.loads(line)
            found[record["document"]] = "error" not in record
            end += len(line)
    results.truncate(end)
    return found


def documents(folder: Path) -> dict[str, Path]:
    """Return the documents by size, the small ones first: a batch is as long as its longest text."""
    found = sorted((path.stat().st_size, path) for path in folder.rglob("*.txt") if path.is_file())
    if not found:
        raise DataError(f"{folder} has no .txt files")
    return {str(path.relative_to(folder)): path for _, path in found}


def start_of(path: Path) -> str:
    """Read the start of a document; bytes that are not UTF-8 become a character that no text may hold."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:  # with or without a byte order mark
        return file.read(MOST_CHARACTERS)


def answers(classifier: TextClassifier, paths: list[Path]) -> list[dict[str, Any]]:
    """Return an answer for each document, or what was wrong with it."""
    try:
        found = classifier.classify([start_of(path) for path in paths])
    except (InputError, RunError, OSError) as error:
        return [{"error": str(error)}] if len(paths) == 1 else [answers(classifier, [path])[0] for path in paths]
    return [{"label": one.label, "score": round(one.score, 4), "subnet": one.subnet} for one in found]


def run(classifier: TextClassifier, left: dict[str, Path], results: BinaryIO) -> None:
    """Answer those; once a batch is on the disk, the next one begins."""
    told_s, names = 0.0, list(left)
    for start in range(0, len(left), BATCH):
        batch = names[start : start + BATCH]
        records = answers(classifier, [left[name] for name in batch])
        lines = [json.dumps({"document": name} | r) + "\n" for name, r in zip(batch, records, strict=True)]
        results.write("".join(lines).encode())
        results.flush()
        os.fsync(results.fileno())
        if time.monotonic() - told_s >= 1 or start + BATCH >= len(left):
            told_s = time.monotonic()
            print(f"{start + len(batch)} of {len(left)} documents; {classifier.session.active} serves", file=sys.stderr)


def main() -> str | None:
    """Answer what has no answer yet; a line of error where something could not be, now or before."""
    parser = argparse.ArgumentParser(description="Label a folder's text files.")
    parser.add_argument("palette")
    parser.add_argument("folder", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--max-memory-mb", type=float, default=200.0)
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # it may be killed at any moment: nothing to tidy up
    with given.results.open("a+b") as results:
        fcntl.flock(results, fcntl.LOCK_EX | fcntl.LOCK_NB)
        done = finished(results)
        left = {name: path for name, path in documents(given.folder).items() if name not in done}
        if left:
            with TextClassifier(given.palette, max_memory_mb=given.max_memory_mb) as classifier:
                run(classifier, left, results)
        failed = list(finished(results).values()).count(False)
    return f"label: {failed} documents could not be answered; {given.results} says why" if failed else None


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BlockingIOError:
        sys.exit("label: another run writes these results; wait for it")
    except (EdgeDistillError, OSError) as error:
        sys.exit(f"label: {error}")
