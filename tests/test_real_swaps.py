"""Subnets of real weights are exchanged: no request is lost or wrong, and no memory kept."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest
from swap_stress import stress
from waiting import wait_until

from edgedistill.palette import load
from edgedistill.runtime import AdaptiveSession

pytestmark = pytest.mark.slow


def test_no_request_is_lost_or_wrong_on_real_subnets(real_palette: Path) -> None:
    _, swaps = stress(real_palette, swaps=20, seconds=2.0)
    assert swaps >= 20


def test_swaps_keep_no_memory(real_palette: Path) -> None:
    names = [entry.name for entry in load(real_palette).manifest.subnets]
    with AdaptiveSession(real_palette, threads=1) as session:

        def resident_mb_after(swaps: int) -> float:
            for turn in range(swaps):
                for wanted in (names[-1 - turn % (len(names) - 1)], names[0]):
                    session.pin(wanted)
                    wait_until(lambda wanted=wanted: session.active == wanted)  # type: ignore[misc]
            time.sleep(0.3)  # for the last one to drain
            return float(psutil.Process().memory_info().rss) / 1e6

        first_mb = resident_mb_after(1)
        assert resident_mb_after(10) - first_mb < 20
