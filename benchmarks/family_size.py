"""Claim: a family costs its weights once. A palette of 6 and one of 12 from one supernet, and their bytes.

Usage: python benchmarks/family_size.py SUPERNET. The supernet's data must be where they were.
The last line of output is one JSON object.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from edgedistill.manifest import Palette
from edgedistill.supernet import checkpoint
from edgedistill.workflows.exporting import export_family
from edgedistill.workflows.searching import SearchOptions, find_family
from edgedistill.workflows.task_data import read_data, recorded_source


def size(palette: Palette) -> tuple[int, int]:
    """Bytes of everything in the folder, and of the weights file alone."""
    files = {path.name: path.stat().st_size for path in palette.folder.rglob("*") if path.is_file()}
    weights = {subnet.weights for subnet in palette.manifest.subnets}
    return sum(files.values()), sum(files[name] for name in weights)


def main(folder: str) -> None:
    """Export twice, and compare."""
    supernet = checkpoint.load(Path(folder))
    data = read_data(recorded_source(supernet))
    totals, counts, ratios = [], [], []
    with tempfile.TemporaryDirectory() as scratch:
        for count in (6, 12):
            found = find_family(supernet, Path(folder), data, SearchOptions(count=count))
            family = [member.subnet for member in found.family]
            palette = export_family(supernet, data, family, Path(scratch) / str(count))
            total, weights = size(palette)
            totals.append(total)
            counts.append(len(palette.manifest.subnets))
            ratios.append(round(total / weights, 4))
    grown = round(totals[1] / totals[0] - 1, 5)
    print(json.dumps({"subnets": counts, "bytes": totals, "over_weights_file": ratios, "twelve_over_six": grown}))


if __name__ == "__main__":
    main(*sys.argv[1:])
