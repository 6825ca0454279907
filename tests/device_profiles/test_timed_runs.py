"""Which runs count: those about which the processor kept its pace."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from statistics import median

import pytest

from edgedistill.device_profiles.timed_runs import TimedRuns, Yardstick


def _runs(looks_us: list[float]) -> TimedRuns[str]:
    """A run of as many milliseconds as its place, for each look."""
    runs = TimedRuns(["one", "other"])
    for place, look_us in enumerate(looks_us):
        runs.add("one", float(place), look_us)
    return runs


def test_until_it_is_judged_every_run_counts() -> None:
    assert _runs([10.0, 30.0] * 15).counted("one") == list(range(30))


def test_runs_at_a_slower_pace_do_not_count() -> None:
    runs = _runs([10.0, 10.5, 20.0] * 30)
    runs.judge()
    assert runs.counted("one") == [place for place in range(90) if place % 3 != 2]
    assert runs.full_speed_share == pytest.approx(2 / 3)


def test_of_too_few_at_the_best_pace_those_nearest_to_it_count() -> None:
    runs = _runs([10.0] * 6 + [20.0 + place for place in range(60)])
    runs.judge()
    assert runs.counted("one") == list(range(20))
    assert runs.full_speed_share == pytest.approx(6 / 66)


def test_fewer_than_twenty_are_all_that_there_are() -> None:
    runs = _runs([10.0, 20.0, 30.0])
    runs.judge()
    assert sorted(runs.counted("one")) == [0, 1, 2]
    assert runs.counted("other") == []


@pytest.mark.alone
def test_the_yardstick_shows_who_shares_the_core() -> None:
    """Another process on the one core that both may use: what is looked at is then interrupted now and again."""
    yardstick, core = Yardstick(), min(os.sched_getaffinity(0))
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        alone = [yardstick.look_us() for _ in range(500)]
        burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            time.sleep(0.3)
            beside = [yardstick.look_us() for _ in range(2000)]
        finally:
            burner.kill()
            burner.wait()
    finally:
        os.sched_setaffinity(0, before)
    assert max(beside) > 5 * median(alone)
