"""Compare a sliced teacher with random weights of the same shape as a start (Figure 5 of arXiv 2404.01353).

Claim: to reach the validation loss at which two thirds of a teacher (four layers of six), trained from random weights,
end, the same shape sliced from the teacher takes at least five times fewer steps, tokens and FLOPs. The slice learns
from the teacher's logits, whose passes count, and in a second run from the text alone, as the random one does.

Needs: wikitext2
Takes: about 2 hours, the teacher included
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.shared import decoder_teacher as decoders
from benchmarks.shared import output, training_runs
from benchmarks.shared.arguments import Steps, Wikitext, WorkFolder
from edgedistill.architecture import Subnet
from edgedistill.data.dataset import TaskData
from edgedistill.distillation import mlfs
from edgedistill.distillation.cost import forward_flops, train_flops
from edgedistill.supernet import checkpoint
from edgedistill.supernet.checkpoint import Supernet

RANDOM_RATE = 2e-3  # the teacher's own
SLICED_RATE = 1e-3
ALPHAS = {"the teacher's logits": 1.0, "the text alone": 0.0}
SLICED_SHARE = 0.25  # of the random one's steps
POINTS = 25  # of a curve


def shapes(supernet: Supernet) -> dict[str, Subnet]:
    """Two thirds of the layers' parameters."""
    layers = {len(kept): kept for kept in supernet.space.layers}
    arch = supernet.model.arch
    return {"four layers of six": decoders.sized(supernet, layers[4], arch.heads, arch.ffn)}


def trained(
    supernet: Supernet, curve: decoders.Curve, data: TaskData, folder: Path, until: int
) -> list[dict[str, Any]]:
    """Train, and give the curve; nothing else is kept."""
    curve.look(0)
    training_runs.train(supernet, data, folder, until=until, watching=lambda own: replace(curve, supernet=own))
    shutil.rmtree(folder)
    return curve.points


def at_random(start: Supernet, subnet: Subnet, data: TaskData, folder: Path, steps: int) -> list[dict[str, Any]]:
    """Train the shape from random weights, tables included, by the text alone."""
    rows = mlfs.encode_data(start, data)
    stage = decoders.long(steps, len(rows.train), RANDOM_RATE)
    recipe = decoders.recipe(fine_tuned=False, random_weights=True, teacher=stage, dropout=0.0)
    supernet = decoders.at_random(start, subnet, 0, recipe)
    arch = supernet.model.arch
    flops = train_flops(arch, arch.full, None, rows=decoders.BATCH, tokens=decoders.BLOCK, tables=True)
    curve = decoders.Curve(supernet, arch.full, rows, max(1, steps // POINTS), flops, 0)
    return trained(supernet, curve, data, folder, 0)


def sliced(start: Path, subnet: Subnet, data: TaskData, folder: Path, steps: int, how: str) -> list[dict[str, Any]]:
    """Train the shape cut out of the teacher."""
    supernet = checkpoint.load(start)
    rows = mlfs.encode_data(supernet, data)
    stage = decoders.long(steps, len(rows.train), SLICED_RATE)
    nothing = decoders.long(1, len(rows.train), 1e-9)
    recipe = decoders.recipe(alpha=ALPHAS[how], widths=nothing, depths=stage)
    supernet = training_runs.start(start, folder, recipe, training_runs.alone(subnet))
    arch, rows_a_step, tokens = supernet.model.arch, decoders.BATCH, decoders.BLOCK
    asked = forward_flops(arch, arch.full, rows=rows_a_step, tokens=tokens) if ALPHAS[how] else 0
    flops = train_flops(arch, subnet, None, rows=rows_a_step, tokens=tokens) + asked
    curve = decoders.Curve(supernet, subnet, rows, max(1, steps // POINTS), flops, 2)
    return trained(supernet, curve, data, folder, 2)


def reached(curve: Sequence[dict[str, Any]], loss: float) -> dict[str, Any] | None:
    """Return the first point of a curve that is at this loss."""
    return next((point for point in curve if point["loss"] <= loss), None)


def compared(random: Sequence[dict[str, Any]], own: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Return how many times more steps, tokens and FLOPs the random one needs to reach its last loss."""
    last = random[-1]
    there = reached(own, last["loss"])
    names = ("step", "tokens", "flops")
    return {name: round(last[name] / there[name], 1) if there and there[name] else None for name in names}


def main(wikitext: Wikitext, work: WorkFolder, steps: Steps = 800) -> None:
    """Train every missing run, and save the curves."""
    start, data = decoders.ordered(wikitext, work), decoders.read(wikitext)
    supernet = checkpoint.load(start)
    result: dict[str, Any] = {"steps": steps, "teacher": supernet.info.scores[0].model_dump(mode="json"), "shapes": {}}
    arch = supernet.model.arch
    for name, subnet in shapes(supernet).items():
        runs: dict[str, Any] = {}
        for how in ("random", *ALPHAS):
            key = f"slicing-{steps}-{name}-{how}".replace(" ", "-").replace("'", "")
            done = work / f"{key}.json"
            if not done.exists():
                fresh = replace(supernet, model=checkpoint.load(start).model)
                curve = (
                    at_random(fresh, subnet, data, work / key, steps)
                    if how == "random"
                    else sliced(start, subnet, data, work / key, round(steps * SLICED_SHARE), how)
                )
                done.write_text(json.dumps(curve))
            runs[how] = json.loads(done.read_text())
        result["shapes"][name] = {
            "subnet": subnet.name,
            "share": round(arch.layer_parameters(subnet) / arch.layer_parameters(arch.full), 3),
            "curves": runs,
            "times_fewer": {how: compared(runs["random"], runs[how]) for how in ALPHAS},
        }
        output.log(f"{name}: {result['shapes'][name]['times_fewer']}")
    output.save_finding("slicing-against-random", result)
