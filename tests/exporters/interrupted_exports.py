"""Exports that die: run as a program, in one thread so that forking is safe. Prints what was left each time.

A palette is there. Twenty children replace it, each killed at a random moment; then some run out of disk.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path

import tiny_encoder
import tiny_supernet

from edgedistill import manifest
from edgedistill.exporters import members, write_palette
from edgedistill.subnet import SubnetConfig

KILLS = 20
LIMITS = (0, 100, 5_000, 20_000, 40_000)  # bytes that one file may have
NO_ROOM = 3  # exit code


def _seconds(folder: Path, subnets: list[SubnetConfig]) -> float:
    started = time.monotonic()
    _export(folder, subnets)
    return time.monotonic() - started


def main(folder: Path) -> None:
    """Export for the old palette and to see how long it takes, then let the others die."""
    subnets = list(tiny_encoder.SPACE)
    _export(folder, subnets[:2])
    model = tiny_supernet.supernet().model
    graph = members.export_supergraph(model.arch, model.eps)
    members.export_supergraph = lambda *_: graph
    # The faster of two: on a busy machine one may take much longer than those that die.
    usual = min(_seconds(folder, subnets[:2]) for _ in range(2))
    rng = random.Random(0)
    for attempt, limit in enumerate([None] * KILLS + list(LIMITS)):
        child = os.fork()
        if child == 0:
            _die(folder, subnets[attempt % 5 : attempt % 5 + 2], limit)
        if limit is None:
            time.sleep(rng.uniform(0, 1.3 * usual))  # so that some are killed at their very end
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        palette = manifest.load(folder)
        palette.check_hashes()
        names = [entry.name for entry in palette.manifest.subnets]
        sys.stdout.write(json.dumps({"limit": limit, "status": status, "subnets": names}) + "\n")
        sys.stdout.flush()


def _export(folder: Path, subnets: list[SubnetConfig]) -> None:
    write_palette(
        tiny_supernet.supernet(), subnets, tiny_supernet.rows(), folder, lambda _: None, precisions=("fp32", "int8")
    )


def _die(folder: Path, subnets: list[SubnetConfig], limit: int | None) -> None:
    """The child: killed from outside, or out of room."""
    if limit is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        _export(folder, subnets)
    except OSError:
        os._exit(NO_ROOM)
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
