"""Label every text file that appears in a folder, in batches, on the cores that the vision pipeline leaves.

Usage: python watch_queue.py PALETTE FOLDER [--once]
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from edgedistill.errors import EdgeDistillError
from edgedistill.runtime import AdaptiveSession, TextClassifier

BUDGET_MS = 50
BATCH = 8


def waiting(folder: Path) -> list[Path]:
    """Files that have no answer yet, oldest first."""
    texts = [path for path in folder.glob("*.txt") if not path.with_suffix(".json").exists()]
    return sorted(texts, key=lambda path: path.stat().st_mtime)[:BATCH]


def label(classifier: TextClassifier, files: list[Path]) -> None:
    """Write the answer beside each file."""
    for path in files:
        try:
            (found,) = classifier.classify([path.read_text(encoding="utf-8")])
            answer = {"label": found.label, "score": found.score, "subnet": found.subnet}
        except EdgeDistillError as error:
            answer = {"error": str(error)}
        path.with_suffix(".json").write_text(json.dumps(answer), encoding="utf-8")


def main(palette: str, folder: str, *options: str) -> None:
    """Watch until interrupted; with --once until nothing waits."""
    with AdaptiveSession(palette, max_latency_ms=BUDGET_MS) as session:
        classifier = TextClassifier(session)
        while (files := waiting(Path(folder))) or "--once" not in options:
            label(classifier, files)
            if not files:
                time.sleep(0.2)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except EdgeDistillError as error:
        sys.exit(f"watch_queue: {error}")
