from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from edgedistill.runtime.sensors import free_memory_mb
from edgedistill.runtime.sensors.free_memory import MemorySensor
from edgedistill.testing import FakeClock

Plant = Callable[[Mapping[str, str]], Path]

PYTHON = [sys.executable, "-c"]
HOST = {"proc/meminfo": "MemTotal: 99000 kB\nMemAvailable:   50000 kB\n"}  # 51.2 MB
GROUP = {
    "proc/self/cgroup": "0::/\n",
    "sys/fs/cgroup/memory.max": "48000000\n",
    "sys/fs/cgroup/memory.current": "8000000\n",
}
LIMITS = "Limit  Soft Limit  Hard Limit  Units\nMax data size  {}  unlimited  bytes\nMax address space  {}  {}  bytes\n"


def own(data: str, address_space: str, data_pages: int = 1000, pages: int = 2000) -> dict[str, str]:
    return {
        "proc/self/limits": LIMITS.format(data, address_space, address_space),
        "proc/self/statm": f"{pages} 500 100 10 0 {data_pages} 0\n",
    }


@pytest.mark.parametrize(
    ("files", "free_mb"),
    [
        (HOST, 51.2),
        (HOST | GROUP, 40.0),
        (HOST | own("unlimited", "unlimited"), 51.2),
        (HOST | own(str(30_000_000 + 1000 * mmap.PAGESIZE), "unlimited"), 30.0),
        (HOST | GROUP | own("unlimited", str(20_000_000 + 2000 * mmap.PAGESIZE)), 20.0),
        (HOST | own("1", "1"), 0.0),
        (HOST | own("1", "1") | {"proc/self/statm": "nonsense\n"}, 51.2),
        (HOST | GROUP | {"proc/self/limits": "\0"}, 40.0),
        (HOST | {**GROUP, "sys/fs/cgroup/memory.current": "much\n"}, 51.2),
    ],
)
def test_the_least_of_host_control_groups_and_own_limits(
    plant: Plant, files: Mapping[str, str], free_mb: float
) -> None:
    assert MemorySensor(plant(files)).read() == pytest.approx(free_mb)


@pytest.mark.parametrize("files", [{}, {"proc/meminfo": "MemFree: 1 kB\n"}])
def test_without_a_figure_of_the_kernel_psutil_tells(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, files: Mapping[str, str]
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=7_000_000))
    assert free_memory_mb(plant(files)) == 7.0


def test_a_limit_that_is_set_later_is_found_within_a_minute(plant: Plant) -> None:
    clock = FakeClock()
    sensor = MemorySensor(plant({**HOST, "proc/self/cgroup": "0::/\n"}), clock)
    assert sensor.read() == pytest.approx(51.2)
    plant(GROUP)
    clock.sleep(60)
    assert sensor.read() == 40.0


def test_this_machine() -> None:
    assert 1 < free_memory_mb() <= psutil.virtual_memory().total / 1e6


@pytest.mark.parametrize(("limit", "used"), [("RLIMIT_AS", "vms"), ("RLIMIT_DATA", "data")])
def test_a_real_limit_of_a_process(limit: str, used: str) -> None:
    script = f"""
import psutil, resource
from edgedistill.runtime.sensors import free_memory_mb
most = psutil.Process().memory_info().{used} + 300_000_000
resource.setrlimit(resource.{limit}, (most, most))
before = free_memory_mb()
held = bytearray(100_000_000)
print(before, free_memory_mb())
"""
    before_mb, after_mb = _printed(subprocess.run([*PYTHON, script], capture_output=True, text=True, check=True))
    assert before_mb == pytest.approx(300, abs=5)
    assert after_mb == pytest.approx(200, abs=5)


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of version 1 inside of this process's own, with 100 MB."""
    memberships = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    path = next((fields[2] for fields in memberships if fields[1] == "memory"), None)
    folder = Path(f"/sys/fs/cgroup/memory{path}/edgedistill-{os.getpid()}")
    try:
        folder.mkdir()
        (folder / "memory.limit_in_bytes").write_text("100000000")
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    yield folder
    folder.rmdir()


def test_a_real_control_group(group: Path) -> None:
    script = f"""
import os
from edgedistill.runtime.sensors import free_memory_mb
open("{group}/cgroup.procs", "w").write(str(os.getpid()))
before = free_memory_mb()
held = bytes(30_000_000).replace(bytes(1), b"1")
print(before, free_memory_mb())
"""
    before_mb, after_mb = _printed(subprocess.run([*PYTHON, script], capture_output=True, text=True, check=True))
    assert 50 < before_mb <= 100
    assert before_mb - after_mb == pytest.approx(30, abs=5)


def _printed(done: subprocess.CompletedProcess[str]) -> list[float]:
    return [float(word) for word in done.stdout.split()]
