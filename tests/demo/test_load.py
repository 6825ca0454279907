"""Real processes that burn this machine's CPU, and end whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from edgedistill.demo.load import CpuLoad


def test_as_many_burn_as_are_asked_for_and_none_afterwards() -> None:
    with CpuLoad() as load:
        load.set(2)
        pids = load.pids
        time.sleep(0.5)
        used = [psutil.Process(pid).cpu_times() for pid in pids]
        assert all(times.user + times.system > 0.05 for times in used)
        load.set(1)
        assert len(load.pids) == 1
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_an_error_ends_them_too() -> None:
    pids: list[int] = []

    def fail() -> None:
        with CpuLoad() as load:
            load.set(1)
            pids.extend(load.pids)
            raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        fail()
    assert not psutil.pid_exists(pids[0])


def test_they_end_with_a_parent_that_was_killed() -> None:
    script = (
        "import time; from edgedistill.demo.load import CpuLoad; load = CpuLoad(); load.set(1); "
        "print(load.pids[0], flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.1)
