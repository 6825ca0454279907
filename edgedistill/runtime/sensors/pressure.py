"""Read how long tasks waited for a resource: the kernel's pressure stall information, if it is enabled."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from edgedistill.runtime.cgroup import unified_folders
from edgedistill.runtime.kernel_files import read_match, read_text
from edgedistill.runtime.sensors.cached_value import CachedValue

__all__ = ["PressureSensor"]

_SOME = re.compile(r"^some avg10=(\d+\.\d+) ")


class PressureSensor:
    """Measure the share of the last ten seconds in which some task waited for ``resource``.

    The figure is of the nearest control group that reports it, or else of the machine.
    """

    def __init__(
        self,
        resource: Literal["cpu", "memory"],
        root: Path = Path("/"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = CachedValue(partial(_nearest, root, resource), clock)
        # The kernel updates the share every two seconds.
        self._share = CachedValue(self._present_share, clock, max_age_s=1.0)

    def read(self) -> float | None:
        """Return the share, 0 to 1, at most a second old."""
        return self._share()

    def _present_share(self) -> float | None:
        path = self._file()
        match = None if path is None else read_match(path, _SOME)
        return None if match is None else min(1.0, float(match[1]) / 100)


def _nearest(root: Path, resource: str) -> Path | None:
    files = [folder / f"{resource}.pressure" for folder in unified_folders(root)]
    files.append(root / "proc/pressure" / resource)
    # If it was disabled at boot, the file exists but cannot be read.
    return next((file for file in files if read_text(file) is not None), None)
