"""Compare a decoder's members with plain MLFS and with separate students, at equal total cost.

It measures perplexity on test of seven members from all to a third of the teacher's layer parameters, and how much
their greedy text repeats: the share of its four-token windows that occurred before in the same text. Ours is the
recipe for decoders. Plain MLFS has rank 8, plain prefixes, a maxnet that trains and teaches, and two random subnets. A
student is one size alone, cut out of the same teacher in the same order, with an equal share of the FLOPs. All sides
count the teacher's own passes. Choices were made on validation.

Needs: wikitext2
Takes: about 6 hours, the teacher included
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.shared import decoder_teacher as decoders
from benchmarks.shared import output, training_runs
from benchmarks.shared.arguments import Steps, Wikitext, WorkFolder
from edgedistill.architecture import SearchSpace, Subnet
from edgedistill.data.dataset import TaskData
from edgedistill.distillation import mlfs
from edgedistill.distillation.evaluation import evaluate
from edgedistill.distillation.mlfs import EncodedData
from edgedistill.distillation.recipe import Recipe, defaults_for
from edgedistill.supernet import checkpoint
from edgedistill.supernet.checkpoint import Supernet
from edgedistill.tasks import task_of

# (depth, heads, FFN width), by falling share of the layers' parameters.
SIZES = {
    "1/1": (6, 8, 640),
    "5/6": (5, 8, 640),
    "3/4": (6, 6, 480),
    "5/8": (5, 6, 480),
    "1/2": (6, 4, 320),
    "5/12": (5, 4, 320),
    "1/3": (4, 4, 320),
}
STUDENTS = tuple(SIZES)[1:]  # the teacher is the largest one's
RATES = {"ours": 1e-3, "student": 1e-3, "plain": 2e-3}
PLAIN: dict[str, Any] = {
    "rank": 8,
    "alpha": 0.9,
    "temperature": 1.0,
    "gamma": 0.5,
    "teacher_source": "maxnet",
    "maxnet": True,
    "minnet": False,
    "random_subnets": 2,
    "alternate": False,
    "order": "prefix",
}
WIDTHS_SHARE = 1 / 3  # of the steps, for stage 1
PROMPTS, PROMPT_TOKENS, MADE_TOKENS, WINDOW = 20, 32, 64, 4


def subnets(supernet: Supernet) -> dict[str, Subnet]:
    """Return the sizes as subnets of a teacher that has every depth named."""
    layers = {len(kept): kept for kept in supernet.space.layers}
    return {size: decoders.sized(supernet, layers[depth], h, f) for size, (depth, h, f) in SIZES.items()}


def scores(supernet: Supernet, sizes: dict[str, Subnet], rows: EncodedData) -> dict[str, dict[str, float]]:
    """Return the scores of each size."""
    task, found = task_of(supernet.info.task), {}
    for size, subnet in sizes.items():
        validation, test = (
            evaluate(supernet.model, subnet, split, task, names=()) for split in (rows.validation, rows.test)
        )
        found[size] = {
            "validation": round(validation.metrics["perplexity"], 3),
            "test": round(test.metrics["perplexity"], 3),
            "accuracy": round(test.value, 4),
            "repetition": round(repetition(supernet, subnet, rows), 4),
        }
    return found


def repetition(supernet: Supernet, subnet: Subnet, rows: EncodedData) -> float:
    """Return the share of windows of greedy text that occurred before in the same text, with prompts from test."""
    step = len(rows.test) // PROMPTS
    prompts = torch.tensor([rows.test.ids[place * step][:PROMPT_TOKENS] for place in range(PROMPTS)])
    made = greedy(supernet, subnet, prompts).tolist()
    windows = [[tuple(text[at : at + WINDOW]) for at in range(MADE_TOKENS - WINDOW + 1)] for text in made]
    return float(np.mean([1 - len(set(of)) / len(of) for of in windows]))


@torch.no_grad()
def greedy(supernet: Supernet, subnet: Subnet, prompts: torch.Tensor) -> torch.Tensor:
    """[b, n] → [b, MADE_TOKENS]."""
    ids = prompts
    for _ in range(MADE_TOKENS):
        logits = supernet.model.logits(ids, torch.ones_like(ids), subnet)
        ids = torch.cat((ids, logits[:, -1].argmax(-1, keepdim=True)), 1)
    return ids[:, prompts.shape[1] :]


def staged(rows: EncodedData, steps: float, rate: float, parameters: str) -> dict[str, Any]:
    """Stages 1 and 2 of so many steps together."""
    first = max(1, round(WIDTHS_SHARE * steps))
    return {
        name: decoders.long(of, len(rows.train), rate, parameters)
        for name, of in (("widths", first), ("depths", max(1, round(steps) - first)))
    }


def trained(start: Path, data: TaskData, folder: Path, recipe: Recipe, space: SearchSpace | None) -> Supernet:
    """Train to the end, and remove the folder."""
    supernet = training_runs.train(training_runs.start(start, folder, recipe, space), data, folder)
    shutil.rmtree(folder)
    return supernet


def ours(start: Path, data: TaskData, folder: Path, steps: int) -> dict[str, Any]:
    """Train one palette by the recipe."""
    supernet = checkpoint.load(start)
    rows, sizes = mlfs.encode_data(supernet, data), subnets(supernet)
    recipe = decoders.recipe(**staged(rows, steps, RATES["ours"], "full"))
    recipe = recipe.model_copy(update={"depth_shares": defaults_for("text-generation").depth_shares})
    supernet = trained(start, data, folder, recipe, None)
    return {"flops": training_runs.own_flops(supernet), "steps": steps, "sizes": scores(supernet, sizes, rows)}


def plain(start: Path, data: TaskData, folder: Path, flops: float) -> dict[str, Any]:
    """Train one palette by plain MLFS."""
    supernet = checkpoint.load(start)
    rows, sizes = mlfs.encode_data(supernet, data), subnets(supernet)
    changes = PLAIN | {"depth_shares": defaults_for("text-generation").depth_shares}
    a_step = probe(start, data, folder, changes | staged(rows, 12, RATES["plain"], "low-rank"), None) / 12
    recipe = decoders.recipe(**changes, **staged(rows, flops / a_step, RATES["plain"], "low-rank"))
    supernet = trained(start, data, folder, recipe, None)
    return {"flops": training_runs.own_flops(supernet), "steps": flops / a_step, "sizes": scores(supernet, sizes, rows)}


def probe(start: Path, data: TaskData, folder: Path, changes: dict[str, Any], space: SearchSpace | None) -> float:
    """FLOPs of a few steps: what decides how many the budget allows."""
    return training_runs.own_flops(trained(start, data, folder, decoders.recipe(**changes), space))


def student(start: Path, data: TaskData, folder: Path, size: str, flops: float) -> dict[str, Any]:
    """Train one size alone."""
    supernet = checkpoint.load(start)
    rows, subnet = mlfs.encode_data(supernet, data), subnets(supernet)[size]
    space = training_runs.alone(subnet)
    a_step = probe(start, data, folder, staged(rows, 3, RATES["student"], "full"), space) / 3
    recipe = decoders.recipe(**staged(rows, flops / a_step, RATES["student"], "full"))
    supernet = trained(start, data, folder, recipe, space)
    found = scores(supernet, {size: subnet}, rows)
    return {"flops": training_runs.own_flops(supernet), "steps": flops / a_step, "sizes": found}


def main(wikitext: Wikitext, work: WorkFolder, steps: Steps = 400) -> None:
    """Train every missing run, and save the table."""
    start, prefix, data = (
        decoders.ordered(wikitext, work),
        decoders.ordered(wikitext, work, "prefix"),
        decoders.read(wikitext),
    )

    def kept(name: str, make: Any) -> dict[str, Any]:
        done = work / f"sizes-{steps}-{name}.json"
        if not done.exists():
            done.write_text(json.dumps(make(work / f"sizes-{steps}-{name}")))
        found: dict[str, Any] = json.loads(done.read_text())
        output.log(f"{name}: {found}")
        return found

    own = kept("ours", lambda folder: ours(start, data, folder, steps))
    flops = own["flops"]
    other = kept("plain", lambda folder: plain(prefix, data, folder, flops))
    alone = {
        size: kept(
            f"student-{size.replace('/', '-')}",
            lambda folder, size=size: student(start, data, folder, size, flops / len(STUDENTS)),
        )
        for size in STUDENTS
    }
    supernet = checkpoint.load(start)
    teacher = scores(supernet, subnets(supernet), mlfs.encode_data(supernet, data))
    output.save_finding(
        "decoder-sizes",
        {"steps": steps, "sliced_alone": teacher, "ours": own, "plain": other, "students": alone},
    )
