"""Put real load on this machine's CPU: processes that do nothing but compute."""

from __future__ import annotations

import os
import subprocess
import sys
from types import TracebackType

__all__ = ["CpuLoad"]

# Ends by itself when its parent is gone or the time is up, whatever happened to the parent.
_BURN = """
import os, time
end = time.monotonic() + {seconds}
while os.getppid() == {parent} and time.monotonic() < end:
    sum(range(100_000))
"""
_LONGEST_S = 600


class CpuLoad:
    """Run a number of busy processes, none at first; all end with the ``with`` block."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> CpuLoad:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.set(0)

    @property
    def pids(self) -> list[int]:
        """Return the process ids of the busy processes."""
        return [process.pid for process in self._processes]

    def set(self, processes: int) -> None:
        """Run exactly this many busy processes."""
        while len(self._processes) > processes:
            process = self._processes.pop()
            process.kill()
            process.wait()
        while len(self._processes) < processes:
            command = [sys.executable, "-c", _BURN.format(parent=os.getpid(), seconds=_LONGEST_S)]
            # A session of their own: Ctrl-C is for the parent, which then ends them; here it would print a traceback.
            self._processes.append(subprocess.Popen(command, start_new_session=True))
