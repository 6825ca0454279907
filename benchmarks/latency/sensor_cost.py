"""Measure the CPU time that reading the sensors takes.

Claim: at most 0.5 % of one core. It reads all sensors at the default rate for a minute and counts the CPU time of the
whole process: driver threads, the search for files once a minute, and cold caches included. The exit code is 1 if the
claim does not hold.

Needs: nothing
Takes: 1 minute
"""

from __future__ import annotations

import json
import time
from statistics import median

from edgedistill.runtime import SystemSensors

INTERVAL_S = 0.25  # AdaptiveSession's default
ROUNDS = 240
MOST_SHARE = 0.005


def read_ms(sensors: SystemSensors) -> float:
    """Return the CPU time of one read, in all of the threads that it starts."""
    start_s = time.process_time()
    sensors.read()
    return (time.process_time() - start_s) * 1e3


def main() -> int:
    """Read for a minute and print what it took."""
    sensors = SystemSensors()
    reads = []
    start_s, start_cpu_s = time.monotonic(), time.process_time()
    for round_ in range(1, ROUNDS + 1):
        reads.append(read_ms(sensors))
        time.sleep(max(0.0, start_s + round_ * INTERVAL_S - time.monotonic()))
    share = (time.process_time() - start_cpu_s) / (time.monotonic() - start_s)
    print(
        json.dumps(
            {
                "read_ms": round(median(reads), 3),
                "longest_read_ms": round(max(reads), 3),
                "share_of_a_core": round(share, 5),
                "rounds": ROUNDS,
            }
        )
    )
    return 0 if share <= MOST_SHARE else 1
