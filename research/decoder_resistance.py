"""Measure what a decoder loses by each kind of cut, and how far training repairs it.

Cuts are in layers or widths, in the FFN or attention, at the ends or in the middle; about two thirds of the layers'
parameters are left each time. It measures the loss of the cut alone, also for shapes whose layers differ. Then the
teacher's logits repair it for some steps, in full matrices and in pairs of several ranks.

Needs: wikitext2
Takes: about 2 hours, the teacher included
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from benchmarks.shared import decoder_teacher as decoders
from benchmarks.shared import output, training_runs
from benchmarks.shared.arguments import Steps, Wikitext, WorkFolder
from edgedistill.architecture import LayerShape, Subnet
from edgedistill.data.dataset import TaskData
from edgedistill.distillation import mlfs
from edgedistill.distillation.evaluation import evaluate
from edgedistill.supernet import checkpoint
from edgedistill.supernet.checkpoint import Supernet
from edgedistill.tasks import task_of

FULL_RATE, PAIR_RATE = 1e-3, 2e-3
RANKS = (8, 16, 64)


def uniform(supernet: Supernet) -> dict[str, Subnet]:
    """Shapes of equal layers, which can be repaired."""
    layers = {len(kept): kept for kept in supernet.space.layers}
    return {
        "two layers dropped": decoders.sized(supernet, layers[4], 8, 640),
        "one layer dropped, the others' FFN narrower": decoders.sized(supernet, layers[5], 8, 464),
        "FFN alone narrower": decoders.sized(supernet, layers[6], 8, 342),
        "FFN and heads narrower alike": decoders.sized(supernet, layers[6], 6, 416),
        "half the heads, FFN a little narrower": decoders.sized(supernet, layers[6], 4, 470),
    }


def uneven(supernet: Supernet) -> dict[str, Subnet]:
    """Shapes whose layers differ: the FFN narrower in the middle alone, or towards one end."""
    widths = {
        "FFN narrower in the four middle layers": (640, 192, 192, 192, 192, 640),
        "FFN narrower in the first three layers": (43, 43, 43, 640, 640, 640),
        "FFN narrower in the last three layers": (640, 640, 640, 43, 43, 43),
    }
    hidden = supernet.model.arch.hidden
    return {
        name: Subnet(tuple(LayerShape(index, 8, ffn) for index, ffn in enumerate(of)), hidden)
        for name, of in widths.items()
    }


def repaired(start: Path, data: TaskData, folder: Path, name: str, steps: int, rank: int | None) -> float:
    """Return the validation loss after the repair, and remove the folder."""
    supernet = checkpoint.load(start)
    rows, subnet = mlfs.encode_data(supernet, data), uniform(supernet)[name]
    kind, rate = ("full", FULL_RATE) if rank is None else ("low-rank", PAIR_RATE)
    nothing = decoders.long(1, len(rows.train), 1e-9)
    recipe = decoders.recipe(rank=rank or 16, widths=nothing, depths=decoders.long(steps, len(rows.train), rate, kind))
    supernet = training_runs.train(
        training_runs.start(start, folder, recipe, training_runs.alone(subnet)), data, folder
    )
    shutil.rmtree(folder)
    return loss(supernet, subnet, rows)


def loss(supernet: Supernet, subnet: Subnet, rows: mlfs.EncodedData) -> float:
    """Return the loss in nats per token on some rows of validation."""
    found = evaluate(supernet.model, subnet, decoders.watched(rows), task_of(supernet.info.task), names=())
    return round(found.loss, 4)


def cut_alone(start: Path, data: TaskData) -> dict[str, dict[str, float]]:
    """Return every shape's share of the layers' parameters and its loss without a repair."""
    supernet = checkpoint.load(start)
    rows, arch = mlfs.encode_data(supernet, data), supernet.model.arch
    shapes = {"all of it": arch.full} | uniform(supernet) | uneven(supernet)
    return {
        name: {
            "share": round(arch.layer_parameters(subnet) / arch.layer_parameters(arch.full), 3),
            "loss": loss(supernet, subnet, rows),
        }
        for name, subnet in shapes.items()
    }


def main(wikitext: Wikitext, work: WorkFolder, steps: Steps = 80) -> None:
    """Train every missing run, and save the table."""
    data = decoders.read(wikitext)
    starts = {order: decoders.ordered(wikitext, work, order) for order in ("importance", "prefix")}
    result: dict[str, Any] = {"steps": steps, "cut": {}, "repaired": {}}
    for order, start in starts.items():
        result["cut"][order] = cut_alone(start, data)
    both = "FFN and heads narrower alike"
    runs: list[tuple[str, str, int | None]] = [
        ("importance", name, None) for name in uniform(checkpoint.load(starts["importance"]))
    ]
    runs += [("importance", both, rank) for rank in RANKS]
    runs += [("prefix", name, None) for name in (both, "two layers dropped")]
    for order, name, rank in runs:
        key = f"{order}: {name}" + (f", rank {rank}" if rank else "")
        done = work / f"resistance-{steps}-{key.replace(' ', '-').replace(':', '')}.json"
        if not done.exists():
            done.write_text(json.dumps(repaired(starts[order], data, done.with_suffix(""), name, steps, rank)))
        result["repaired"][key] = json.loads(done.read_text())
        output.log(f"{key}: {result['repaired'][key]}")
    output.save_finding("decoder-resistance", result)
