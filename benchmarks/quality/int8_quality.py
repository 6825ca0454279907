"""Measure what int8 costs every member of the default family, on test.

Claim: at most 1.0 point of the headline metric below the same member in fp32. Both are measured through onnxruntime on
the graphs of an export. For labels it also measures how often the answers differ.

Needs: the palette of `separate-distillation` with the same DATA, WORK and --share
Takes: about 10 minutes
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.shared import data_sets, output, quality_scores, training_runs
from benchmarks.shared.arguments import DataFolder, Share, WorkFolder
from edgedistill.distillation.mlfs import encode_data
from edgedistill.exporters.quality import graph_outputs
from edgedistill.palette import Palette, SubnetEntry
from edgedistill.supernet import checkpoint
from edgedistill.workflows.capabilities import capabilities_of
from edgedistill.workflows.exporting import export_family
from edgedistill.workflows.searching import SearchOptions, find_family


def main(data_folder: DataFolder, work: WorkFolder, share: Share = 0.5) -> None:
    """Export the family in both precisions, and save the comparison."""
    known, data = data_sets.read(data_folder)
    folder = training_runs.trained_palette(known, work, share)
    supernet = checkpoint.load(folder)
    family = [member.subnet for member in find_family(supernet, folder, data, SearchOptions()).family]
    rows = encode_data(supernet, data).test

    def answers(palette: Palette, entry: SubnetEntry) -> Any:
        return graph_outputs(palette.folder / entry.graph, rows).numpy()

    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        precisions = capabilities_of(supernet.model.arch).precisions
        palette = export_family(supernet, data, family, Path(scratch) / "palette", precisions=precisions)
        exact = {entry.config: entry for entry in palette.manifest.subnets if entry.precision == "fp32"}
        for entry in palette.manifest.subnets:
            if entry.precision == "int8":
                pair = [answers(palette, entry), answers(palette, exact[entry.config])]
                (difference,), _ = quality_scores.differences(data, [(pair[0], pair[1])])
                flips = float(np.mean(pair[0].argmax(-1) != pair[1].argmax(-1))) if data.label_names else None
                found[exact[entry.config].name] = {
                    "fp32": quality_scores.whole(data, pair[1]),
                    "int8": quality_scores.whole(data, pair[0]),
                    "difference": difference.as_list(),
                    "answers_that_differ": flips,
                    "size_mb": {"fp32": exact[entry.config].size_mb, "int8": entry.size_mb},
                }
                output.log(f"{entry.name}: {found[exact[entry.config].name]}")
    output.save_result(f"int8-quality-{known.name}", {"data": known.name, "share": share, "members": found})
