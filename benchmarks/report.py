"""Writes the results in benchmarks/results into the pages of docs, each as a table between its marks.

Usage: python benchmarks/report.py [--check]. With --check nothing is written; the exit code is 1 where a page is
not what the results say.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import report_decoders
import report_device
import report_exporting
import report_profiles
import report_runtime
import report_training
from tables import Result

RESULTS = Path(__file__).parent / "results"
PAGES = sorted((Path(__file__).parent.parent / "docs").glob("*.md"))
_BLOCK = re.compile(r"<!-- (?P<name>[a-z0-9-]+) -->\n(?:(?!<!--).)*<!-- end -->", re.DOTALL)

_WRITERS: dict[str, Callable[[Result], str]] = {
    "separate-distillation": report_training.separate_distillation,
    "ablation": report_training.ablation,
    "gradient-scaling": report_training.gradient_scaling,
    "constant-cost": report_training.constant_cost,
    "a-quarter": report_training.a_quarter,
    "without-labels": report_training.without_labels,
    "mixed-index": report_training.mixed_index,
    "regression-scales": report_training.regression_scales,
    "training-memory": report_training.training_memory,
    "embedding-table": report_training.embedding_table,
    "hidden-width": report_training.hidden_width,
    "int8-quality": report_exporting.int8_quality,
    "rejection": report_exporting.rejection,
    "shared-weights": report_exporting.shared_weights,
    "per-layer-widths": report_training.per_layer_widths,
    "export-time": report_exporting.export_time,
    "torch-export": report_exporting.torch_export,
    "latency": report_exporting.latency,
    "overhead": report_runtime.overhead,
    "reaction": report_runtime.reaction,
    "oracle": report_runtime.oracle,
    "stress": report_runtime.stress,
    "replacements": report_runtime.replacements,
    "private-copy": report_runtime.private_copy,
    "profiles": report_profiles.profiles,
    "arm-commands": report_profiles.arm_commands,
    "install-size": report_device.install_size,
    "arm": report_device.arm,
    "memory-returns": report_runtime.memory_returns,
    "slicing-against-random": report_decoders.slicing_against_random,
    "generation-swaps": report_decoders.generation_swaps,
    "generation-speed": report_decoders.generation_speed,
    "decoder-distillation": report_decoders.decoder_distillation,
    "decoder-resistance": report_decoders.decoder_resistance,
    "decoder-sizes": report_decoders.decoder_sizes,
    "decoder-vocabulary": report_decoders.decoder_vocabulary,
}


def written(page: str) -> str:
    """The page with every block as its result says."""

    def block(match: re.Match[str]) -> str:
        name = match["name"]
        writer = _WRITERS[max((key for key in _WRITERS if name.startswith(key)), key=len)]
        result = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        return f"<!-- {name} -->\n{writer(result)}\n<!-- end -->"

    return _BLOCK.sub(block, page)


def main(*options: str) -> int:
    """Write the pages, or tell whether they are up to date."""
    stale = {page: new for page in PAGES if (new := written(old := page.read_text(encoding="utf-8"))) != old}
    if "--check" in options:
        return int(bool(stale))
    for page, new in stale.items():
        page.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
