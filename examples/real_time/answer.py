"""Label each line of a stream within a deadline, counted from the line's arrival; a line that is late is let go.

Usage: python answer.py PALETTE --deadline-ms 30 < STREAM
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from queue import SimpleQueue
from typing import Any

from edgedistill.errors import EdgeDistillError, InputError, RunError
from edgedistill.runtime import AdaptiveSession, Reason, TextClassifier

Lines = SimpleQueue[tuple[float, str] | None]
NO_CHOICE = {Reason.KEEP, Reason.DWELL, Reason.SWAP_LIMIT}


def read(lines: Lines) -> None:
    """Stamp lines as they arrive, while others are answered: those that wait must not look as if they just came."""
    # What is not UTF-8 becomes what no text may hold, so that it is an error of its own line.
    with os.fdopen(0, encoding="utf-8-sig", errors="surrogateescape", newline="\n", closefd=False) as stream:
        for line in stream:
            lines.put((time.perf_counter(), line))
    lines.put(None)


def answer(classifier: TextClassifier, text: str, left_ms: float) -> dict[str, Any]:
    """Return a line's record; a line that is already late is not answered, since that would delay the next ones."""
    if left_ms <= 0:
        return {"error": "late"}
    before = classifier.session.active
    try:
        (found,) = classifier.classify([text], deadline_ms=left_ms)
    except (InputError, RunError) as error:
        return {"error": str(error)}
    why = "deadline" if found.subnet not in (before, classifier.session.active) else reason(classifier, found.subnet)
    return {"label": found.label, "score": round(found.score, 4), "subnet": found.subnet, "why": why}


def reason(classifier: TextClassifier, subnet: str) -> str:
    """Why it serves: the reason of the last decision that chose it."""
    chosen = (d.reason for d in reversed(classifier.session.decisions) if d.subnet == subnet)
    return next((reason.value for reason in chosen if reason not in NO_CHOICE), "keep")


def main() -> int:
    """Answer until the stream ends, or SIGTERM or Ctrl-C ends it; 1 unless every line was answered in time."""
    parser = argparse.ArgumentParser(description="Label each line of standard input within a deadline.")
    parser.add_argument("palette")
    parser.add_argument("--deadline-ms", type=float, required=True)
    given = parser.parse_args()
    lines: Lines = SimpleQueue()
    total, in_time, longest_ms, served = 0, 0, 0.0, Counter[tuple[str, str]]()
    # The budget picks a subnet that usually keeps the deadline; each line's own deadline is for when it waited.
    with (
        open(1, "wb", buffering=0, closefd=False) as output,
        AdaptiveSession(given.palette, max_latency_ms=given.deadline_ms) as session,
    ):
        classifier = TextClassifier(session)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: lines.put(None))
        threading.Thread(target=read, args=(lines,), daemon=True).start()
        for total, (arrived_s, text) in enumerate(iter(lines.get, None), start=1):
            record = answer(classifier, text, given.deadline_ms - (time.perf_counter() - arrived_s) * 1e3)
            ms = (time.perf_counter() - arrived_s) * 1e3
            output.write(json.dumps({"line": total, "ms": round(ms, 2), **record}).encode() + b"\n")
            if "label" in record:
                served[record["subnet"], record["why"]] += 1
                in_time += ms <= given.deadline_ms
                longest_ms = max(longest_ms, ms)
    print(f"{in_time} of {total} lines in time; the longest took {longest_ms:.1f} ms", file=sys.stderr)
    for (subnet, why), count in served.most_common():
        print(f"{subnet} answered {count}: {why}", file=sys.stderr)
    return int(in_time < total)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:
        sys.exit(141)  # as a shell reports a program whose reader has enough
    except (EdgeDistillError, OSError) as error:
        sys.exit(f"answer: {error}")
