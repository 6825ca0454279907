"""What importing the runtime costs, next to what nobody on a device can avoid.

Starts fresh interpreters in turns: ``import edgedistill.runtime`` and ``import onnxruntime, numpy``. Claim: the
ratio of the medians is at most 1.8. The last line is one JSON object; the exit code tells whether the claim held.
"""

from __future__ import annotations

import json
import subprocess
import sys
from statistics import median

OURS = "edgedistill.runtime"
FLOOR = "onnxruntime, numpy"
ROUNDS = 20
MOST = 1.8

_TIMED = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def import_ms(modules: str) -> float:
    """How long the import takes in an interpreter of its own, without that one's start."""
    done = subprocess.run(
        [sys.executable, "-c", _TIMED.format(modules)], capture_output=True, text=True, check=True, timeout=120
    )
    return float(done.stdout) * 1e3


def main() -> int:
    """Run the comparison and print it."""
    for modules in (OURS, FLOOR):  # so that neither pays for a cold disk
        import_ms(modules)
    pairs = [(import_ms(OURS), import_ms(FLOOR)) for _ in range(ROUNDS)]
    ours_ms, floor_ms = (median(column) for column in zip(*pairs, strict=True))
    ratio = ours_ms / floor_ms
    print(
        json.dumps(
            {
                "runtime_ms": round(ours_ms, 1),
                "onnxruntime_numpy_ms": round(floor_ms, 1),
                "ratio": round(ratio, 2),
                "rounds": ROUNDS,
            }
        )
    )
    return 0 if ratio <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())
