"""Measure whether a sliced decoder learns better from its teacher than from text (Figure 7 of arXiv 2404.01353).

Claim: at equal steps the validation loss of two thirds of a teacher is lower with α > 0 than with α = 0, for each of
three seeds, which decide the order of the batches.

Needs: wikitext2
Takes: about an hour, the teacher included
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.shared import decoder_teacher as decoders
from benchmarks.shared import output, training_runs
from benchmarks.shared.arguments import Steps, Wikitext, WorkFolder
from edgedistill.data.dataset import TaskData
from edgedistill.distillation import mlfs
from edgedistill.supernet import checkpoint

ALPHAS = (0.0, 0.9, 1.0)
SEEDS = (0, 1, 2)
RATE = 1e-3
POINTS = 5  # of a curve


def run(start: Path, data: TaskData, folder: Path, alpha: float, seed: int, steps: int) -> list[dict[str, Any]]:
    """Train four layers of six, cut out of the teacher, and return the curve."""
    supernet = checkpoint.load(start)
    rows = mlfs.encode_data(supernet, data)
    layers = {len(kept): kept for kept in supernet.space.layers}
    arch = supernet.model.arch
    subnet = decoders.sized(supernet, layers[4], arch.heads, arch.ffn)
    nothing, stage = decoders.long(1, len(rows.train), 1e-9), decoders.long(steps, len(rows.train), RATE)
    recipe = decoders.recipe(seed, alpha=alpha, widths=nothing, depths=stage)
    supernet = training_runs.start(start, folder, recipe, training_runs.alone(subnet))
    curve = decoders.Curve(supernet, subnet, rows, max(1, steps // POINTS), 0.0, 2)
    curve.look(0)
    training_runs.train(supernet, data, folder, watching=lambda own: replace(curve, supernet=own))
    shutil.rmtree(folder)
    return curve.points


def main(wikitext: Wikitext, work: WorkFolder, steps: Steps = 100) -> None:
    """Train every missing run, and save the curves."""
    start, data = decoders.ordered(wikitext, work), decoders.read(wikitext)
    curves: dict[str, dict[str, Any]] = {f"{alpha:g}": {} for alpha in ALPHAS}
    for seed in SEEDS:
        for alpha in ALPHAS:
            key = f"distillation-{steps}-{alpha:g}-{seed}"
            done = work / f"{key}.json"
            if not done.exists():
                done.write_text(json.dumps(run(start, data, work / key, alpha, seed, steps)))
            curves[f"{alpha:g}"][str(seed)] = json.loads(done.read_text())
    last = {alpha: [curve[-1]["loss"] for curve in of.values()] for alpha, of in curves.items()}
    gains = {
        alpha: [round(none - loss, 4) for none, loss in zip(last["0"], of, strict=True)] for alpha, of in last.items()
    }
    means = {alpha: round(mean(losses), 4) for alpha, losses in last.items()}
    output.save_finding(
        "decoder-distillation",
        {"steps": steps, "seeds": list(SEEDS), "curves": curves, "last": means, "below_alpha_0": gains},
    )
