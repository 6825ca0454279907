"""Run a job in a worker process of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import IO

from edgedistill.device_profiles.job import ROUND, Job
from edgedistill.errors import EdgeDistillError

__all__ = ["run_worker"]

_WORKER = "edgedistill.device_profiles.worker"


def run_worker(job: Job, on_round: Callable[[int], None]) -> bytes:
    """Run a job and return its result as JSON; ``on_round`` gets the number of each completed round.

    Raises:
        EdgeDistillError: the worker failed; the message has its reason.
    """
    command = [sys.executable, "-m", _WORKER]
    result = b""
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with suppress(BrokenPipeError), process.stdin as stdin:  # it died early: the exit status says why
                stdin.write(job.model_dump_json().encode())
            for result in process.stdout:
                if result.startswith(ROUND.encode()):
                    on_round(int(result[len(ROUND) :]))
        except BaseException:
            process.kill()
            raise
        if process.wait() != 0:
            what = next(iter(job.graphs)) if len(job.graphs) == 1 or job.task == "memory" else "several subnets"
            raise EdgeDistillError(f"profiling {what} failed: {_reason(process.returncode, errors)}")
    return result


def _reason(returncode: int, errors: IO[bytes]) -> str:
    if returncode < 0:
        return f"its process was killed by signal {-returncode}; is there enough memory?"
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"its process ended with status {returncode}"
