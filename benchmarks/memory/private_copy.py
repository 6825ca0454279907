"""Measure what a private copy costs: time to open a palette, time to load its subnets, and memory.

Each figure comes from fresh processes, in place and from the copy in turn. In place, no cache folder is offered.
"First" is the opening that copies, and "later" ones find the copy. "Check" is the search of one graph for the files
that it names, which is cached while the graph stays the same.

Needs: a palette
Takes: about 5 minutes
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.shared import output
from benchmarks.shared.arguments import PaletteFolder, Rounds
from edgedistill.palette import load

ROUNDS = 7
WAYS = ("in place", "private copy")
_PROBE = """
import json, sys, time
from pathlib import Path
from edgedistill.palette import load
from edgedistill.runtime import external_data
from edgedistill.runtime.onnx import create_session, import_onnxruntime
from edgedistill.runtime.snapshot import private_copy
import_onnxruntime()

def status(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(field + ":"))

began = time.perf_counter()
palette = private_copy(load(sys.argv[1]))
opened_ms = (time.perf_counter() - began) * 1e3
before_mb, loads_ms, checks_ms, sessions = status("VmRSS"), [], [], []
for entry in palette.manifest.subnets:
    graph = palette.graph_path(entry.name)
    began = time.process_time()
    external_data.check_external_data(graph, {entry.weights})
    checked = time.process_time()
    sessions.append(create_session(graph, 1))
    loads_ms.append((time.process_time() - checked) * 1e3)
    checks_ms.append((checked - began) * 1e3)
print(json.dumps({
    "open, ms": opened_ms,
    "load of all subnets, ms of CPU": sum(loads_ms),
    "check of all graphs, ms of CPU": sum(checks_ms),
    "all subnets loaded, MB of RSS": status("VmRSS") - before_mb,
    "private memory of the process (RssAnon), MB": status("RssAnon"),
}))
"""


def probe(palette: Path, cache: Path | None) -> dict[str, float]:
    """Return the figures of one fresh process."""
    names = ("EDGEDISTILL_CACHE", "CACHE_DIRECTORY", "XDG_CACHE_HOME")
    environ = {name: value for name, value in os.environ.items() if name not in names}
    environ |= {"HOME": "/proc/none"} if cache is None else {"EDGEDISTILL_CACHE": str(cache)}
    command = [sys.executable, "-c", _PROBE, str(palette)]
    done = subprocess.run(command, env=environ, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def measured(palette: Path, rounds: int) -> dict[str, Any]:
    """Summarize each figure of each way: least, median and most."""
    seen: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as work:
        cache = Path(work) / "cache"
        for _ in range(rounds):
            shutil.rmtree(cache, ignore_errors=True)
            plain, first, later = probe(palette, None), probe(palette, cache), probe(palette, cache)
            pairs = {f"later {name}" if name == "open, ms" else name: (plain[name], later[name]) for name in plain}
            pairs["first open, ms"] = (plain["open, ms"], first["open, ms"])
            for name, values in pairs.items():
                for way, value in zip(WAYS, values, strict=True):
                    seen.setdefault(name, {}).setdefault(way, []).append(value)
    return {
        name: {way: [round(f(values), 1) for f in (min, median, max)] for way, values in of.items()}
        for name, of in seen.items()
    }


def main(palette_folder: PaletteFolder, rounds: Rounds = ROUNDS) -> int:
    """Measure both ways, and save the figures."""
    palette = load(palette_folder)
    result = {
        "palette_mb": round(sum(entry.size_bytes for entry in palette.manifest.files) / 1e6, 1),
        "subnets": len(palette.manifest.subnets),
        "rounds": rounds,
        "figures": measured(palette.folder, rounds),
    }
    output.save_result("private-copy", result)
    return 0
