"""Write results into the pages of docs, each as a table between its marks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from benchmarks.report import (
    report_decoders,
    report_device,
    report_exporting,
    report_profiles,
    report_runtime,
    report_training,
)
from benchmarks.report.tables import Result
from benchmarks.shared.output import FINDINGS, RESULTS, ROOT

PAGES = sorted((ROOT / "docs").glob("*.md"))
_BLOCK = re.compile(r"<!-- (?P<name>[a-z0-9-]+) -->\n(?:(?!<!--).)*<!-- end -->", re.DOTALL)

_WRITERS: dict[str, Callable[[Result], str]] = {
    "separate-distillation": report_training.separate_distillation,
    "ablation": report_training.ablation,
    "gradient-scaling": report_training.gradient_scaling,
    "constant-cost": report_training.constant_cost,
    "a-quarter": report_training.a_quarter,
    "without-labels": report_training.without_labels,
    "mixed-index": report_training.mixed_index,
    "multi-label": report_training.multi_label,
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


def result_files() -> dict[str, Path]:
    """Return the file of every result, by its name."""
    return {file.stem: file for folder in (RESULTS, FINDINGS) for file in sorted(folder.glob("*.json"))}


def filled(page: str) -> str:
    """Return a page's text with the table of every result between its marks."""
    files = result_files()

    def block(match: re.Match[str]) -> str:
        name = match["name"]
        writer = _WRITERS[max((key for key in _WRITERS if name.startswith(key)), key=len)]
        return f"<!-- {name} -->\n{writer(json.loads(files[name].read_text(encoding='utf-8')))}\n<!-- end -->"

    return _BLOCK.sub(block, page)


def stale_pages() -> dict[Path, str]:
    """Return the pages whose tables differ from the results, with the text that each should have."""
    pages = {page: page.read_text(encoding="utf-8") for page in PAGES}
    return {page: new for page, text in pages.items() if (new := filled(text)) != text}


def missing_results() -> list[str]:
    """Return the names of results that no page shows."""
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    return [name for name in result_files() if f"<!-- {name} -->" not in text]
