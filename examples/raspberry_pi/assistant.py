"""A command a line in, an action a line out, within a budget that holds while the board does other things.

Usage: python assistant.py PALETTE < commands.txt
"""

from __future__ import annotations

import sys

from edgedistill.errors import EdgeDistillError
from edgedistill.runtime import AdaptiveSession, TextClassifier

BUDGET_MS = 30
MEMORY_MB = 200
SURE = 0.5


def main() -> int:
    """Answer every line, then say which subnets served and why."""
    with AdaptiveSession(sys.argv[1], max_latency_ms=BUDGET_MS, max_memory_mb=MEMORY_MB) as session:
        assistant = TextClassifier(session)
        for line in filter(str.strip, sys.stdin):
            (found,) = assistant.classify([line.strip()])
            action = found.label if found.score >= SURE else "ask again"
            print(f"{action}\t{found.subnet}\t{found.latency_ms:.1f} ms", flush=True)
        for decision in session.decisions:
            print(f"{decision.subnet}: {decision.reason.value}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EdgeDistillError as error:
        sys.exit(f"assistant: {error}")
