from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from edgedistill.runtime.sensors import SystemSensors
from edgedistill.testing import FakeClock

Tree = Mapping[str, str]

INTERVAL_S = 0.25
READS = 240  # a minute, so that each search has its part


@pytest.mark.parametrize("board", [None, "Jetson Orin", "laptop"])
def test_reading_takes_less_than_a_hundredth_of_a_core(
    plant: Callable[[Tree], Path], boards: Mapping[str, Tree], board: str | None
) -> None:
    clock = FakeClock()
    sensors = SystemSensors(Path("/") if board is None else plant(boards[board]), clock=clock)
    start_s = time.process_time()
    for _ in range(READS):
        sensors.read()
        clock.sleep(INTERVAL_S)
    share = (time.process_time() - start_s) / (READS * INTERVAL_S)
    assert share < 0.01
