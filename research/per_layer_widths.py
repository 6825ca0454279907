"""Measure whether unequal layers are worth searching for.

At two sizes it compares the uniform member with the best on validation of many subnets of the same size (within 2 %)
whose layers differ. All are slices of one palette that was trained on uniform ones; the difference is on test.

Needs: the palette of `separate-distillation` with the same DATA, WORK and --share
Takes: about 20 minutes
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.shared import data_sets, output, quality_scores, training_runs
from benchmarks.shared.arguments import DataFolder, Share, WorkFolder
from edgedistill.architecture import Architecture, LayerShape, SearchSpace, Subnet
from edgedistill.data.dataset import TaskData
from edgedistill.supernet import checkpoint
from edgedistill.supernet.checkpoint import Supernet

SIZES = ("1/2", "1/4")
_CANDIDATES = 60
_NEAR = 0.02


def candidates(space: SearchSpace, arch: Architecture, parameters: int) -> Iterator[Subnet]:
    """Draw random subnets of this size whose layers take any of the space's widths."""
    rng = random.Random(0)
    seen: set[Subnet] = set()
    while len(seen) < _CANDIDATES:
        layers = (LayerShape(i, rng.choice(space.heads), rng.choice(space.ffn)) for i in rng.choice(space.layers))
        subnet = Subnet(tuple(layers), space.hidden[0])
        if subnet not in seen and abs(arch.layer_parameters(subnet) / parameters - 1) <= _NEAR:
            seen.add(subnet)
            yield subnet


def on_validation(supernet: Supernet, subnet: Subnet, data: TaskData) -> float:
    """Return a subnet's headline metric on validation."""
    score, examples = quality_scores.score_of(
        data, training_runs.answers(supernet, subnet, data, "validation"), "validation"
    )
    return score(np.arange(examples))


def main(data_folder: DataFolder, work: WorkFolder, share: Share = 0.5) -> None:
    """Score the candidates of each size, and save the comparison."""
    known, data = data_sets.read(data_folder)
    supernet = checkpoint.load(training_runs.trained_palette(known, work, share))
    teacher = training_runs.teacher(known, data, work)
    arch, members = supernet.model.arch, training_runs.reference_subnets(teacher)
    found: dict[str, Any] = {}
    for size in SIZES:
        uniform = members[size]
        scores = {
            subnet: on_validation(supernet, subnet, data)
            for subnet in candidates(supernet.space, arch, arch.layer_parameters(uniform))
        }
        best = max(scores, key=scores.__getitem__)
        pair = training_runs.answers(supernet, best, data), training_runs.answers(supernet, uniform, data)
        (difference,), _ = quality_scores.differences(data, [pair])
        tests = [score(np.arange(rows)) for score, rows in (quality_scores.score_of(data, outputs) for outputs in pair)]
        found[size] = {
            "best": [[layer.index, layer.heads, layer.ffn] for layer in best.layers],
            "validation": {"best": scores[best], "uniform": on_validation(supernet, uniform, data)},
            "test": dict(zip(("best", "uniform"), tests, strict=True)),
            "difference": difference.as_list(),
        }
        output.log(f"{size}: {found[size]}")
    output.save_finding(
        f"per-layer-widths-{known.name}",
        {"data": known.name, "share": share, "candidates": _CANDIDATES, "sizes": found},
    )
