"""Compare the palette's members with models of their size that were distilled alone.

Claim: at six sizes from 1/2 to 1/9 of the layer parameters, the mean of (palette − better student) is at least 0
points, and no size is more than 0.5 below.

A student has the member's shape, is cut from the same teacher in the same importance order, and learns by the same
loss. It costs a sixth of what the palette costs; both sides count the teacher's pass over the training data. The
better of two kinds counts, low-rank and full-parameter, each at the learning rate that validation finds best for its
size. The better kind then gets multiples of that cost, to see what it needs to catch up. The multiple "shared" is the
cost of a sixth if all six students share one teacher's pass. WORK keeps the runs: an interrupted benchmark resumes.

Needs: clinc150, sst2 or stsb
Takes: 6 to 10 hours with --share 1
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.shared import data_sets, output, quality_scores, training_runs
from benchmarks.shared.arguments import DataFolder, Share, WorkFolder
from edgedistill.architecture import Architecture, Subnet
from edgedistill.data.dataset import TaskData
from edgedistill.distillation.baseline import word_count_score
from edgedistill.distillation.recipe import Recipe, StageRecipe
from edgedistill.supernet import checkpoint

RATES = {"full": (1e-4, 2e-4, 5e-4, 1e-3, 2e-3), "low-rank": (5e-4, 1e-3, 2e-3, 4e-3, 8e-3)}
_NOTHING = StageRecipe(epochs=1e-9, min_steps=1, learning_rate=1e-12)  # students have one stage


@dataclass(frozen=True)
class Student:
    """Hold what one student reached: its score on validation, its outputs on test, and what it cost."""

    validation: float
    outputs: NDArray[np.float32]
    flops: int
    wall_s: float


@dataclass(frozen=True)
class Cost:
    """FLOPs of the palette's training, and of one pass of the teacher over the training data."""

    palette: int
    teacher: int

    def student(self, multiple: float) -> float:
        """Return what a student may spend, for this many sixths of the whole, after its own teacher's pass."""
        return multiple * (self.palette + self.teacher) / 6 - self.teacher

    def multiple(self, text: str) -> float:
        """Return a multiple as a number; "shared" is where the pass is paid once for all six."""
        return (self.palette + 6 * self.teacher) / (self.palette + self.teacher) if text == "shared" else float(text)


@dataclass(frozen=True)
class Bench:
    """One data set, its teacher in order, and the recipe of everything."""

    data: TaskData
    work: Path
    teacher: Path
    recipe: Recipe

    def palette(self, share: float) -> Path:
        """Train the palette for a share of the recipe's length, and return the folder of its supernet."""
        folder = self.work / training_runs.palette_name(self.teacher.name, share)
        start = checkpoint.load(self.teacher)
        space = training_runs.space_of(start, self.recipe)
        flops = share * training_runs.predicted_flops(start, self.data, self.recipe, space)
        recipe = training_runs.at_cost(start, self.data, self.recipe, space, flops)
        training_runs.train(training_runs.start(self.teacher, folder, recipe), self.data, folder)
        return folder

    def student(self, size: str, subnet: Subnet, kind: str, rate: float, flops: float) -> Student:
        """Distil one subnet alone, or read what it reached."""
        key = f"{self.teacher.name}-student-{size.replace('/', '_')}-{kind}-{rate:g}-{flops:.3g}"
        kept, folder = self.work / f"{key}.npz", self.work / key
        if not kept.exists():
            self._distil(subnet, kind, rate, flops, folder, kept)
        with np.load(kept) as stored:
            figures = json.loads(str(stored["figures"]))
            return Student(figures["validation"], stored["outputs"], figures["flops"], figures["wall_s"])

    def _distil(self, subnet: Subnet, kind: str, rate: float, flops: float, folder: Path, kept: Path) -> None:
        start, space = checkpoint.load(self.teacher), training_runs.alone(subnet)
        stage = {"epochs": 1, "learning_rate": rate, "parameters": kind}
        values = self.recipe.model_dump() | {"widths": _NOTHING, "depths": stage}
        recipe = Recipe.model_validate(values | {"minnet": True, "maxnet": False, "random_subnets": 0})
        recipe = training_runs.at_cost(start, self.data, recipe, space, flops)
        supernet = training_runs.train(training_runs.start(self.teacher, folder, recipe, space), self.data, folder)
        watched = training_runs.answers(supernet, subnet, self.data, "validation")
        figures = {
            "validation": quality_scores.whole(self.data, watched, "validation"),
            "flops": training_runs.own_flops(supernet),
            "wall_s": training_runs.wall_s(supernet),
        }
        np.savez(kept, outputs=training_runs.answers(supernet, subnet, self.data), figures=json.dumps(figures))
        shutil.rmtree(folder)


def main(
    data_folder: DataFolder,
    work: WorkFolder,
    share: Share = 1.0,
    multiples: Annotated[str, typer.Option(help="costs of the students, in sixths of the palette's")] = "1,shared,2",
) -> None:
    """Train the palette and every missing student, and save the comparison."""
    known, data = data_sets.read(data_folder)
    bench = Bench(data, work, training_runs.teacher(known, data, work), training_runs.base_recipe(known))
    palette = checkpoint.load(bench.palette(share))
    members = training_runs.reference_subnets(bench.teacher)
    own = {size: training_runs.answers(palette, subnet, data) for size, subnet in members.items()}
    cost = Cost(training_runs.own_flops(palette), training_runs.teacher_flops(palette, data))
    output.log(f"palette: {cost.palette:.3g} FLOPs, and {cost.teacher:.3g} of the teacher")
    rates = {
        (size, kind): _best_rate(bench, size, subnet, kind, cost.student(1))
        for size, subnet in members.items()
        for kind in RATES
    }
    arch = palette.model.arch
    rounds: dict[str, Any] = {}
    kinds = {size: tuple(RATES) for size in members}
    for multiple in map(cost.multiple, multiples.split(",")):
        found = rounds[f"{multiple:.3g}"] = _round(bench, members, own, rates, kinds, cost.student(multiple))
        output.log(f"students at {multiple:.3g} times a sixth: mean {found['mean_difference']}")
        kinds = {size: (of["better"],) for size, of in found["sizes"].items()}
    output.save_result(
        f"separate-distillation-{known.name}",
        {
            "data": known.name,
            "seed": bench.recipe.seed,
            **training_runs.MACHINE,
            "share": share,
            "tests": {"published": data_sets.published_tests(data), "all": len(data.test.texts)},
            "metric": palette.info.scores[-1].metric,
            "teacher": quality_scores.whole(
                data, training_runs.answers(checkpoint.load(bench.teacher), arch.full, data)
            ),
            "maxnet": quality_scores.whole(data, training_runs.answers(palette, arch.full, data)),
            "word_counts": word_count_score(data),
            "palette_flops": cost.palette,
            "teacher_flops": cost.teacher,
            "multiple_where_the_pass_is_shared": round(cost.multiple("shared"), 2),
            "palette_steps": [score.steps for score in palette.info.scores if score.stage],
            "palette_wall_s": training_runs.wall_s(palette),
            "layer_share": {size: _layer_share(arch, subnet) for size, subnet in members.items()},
            "palette": {size: quality_scores.whole(data, outputs) for size, outputs in own.items()},
            "students_at_multiples_of_a_sixth": rounds,
        },
    )


def _published(data: TaskData, outputs: NDArray[np.float32]) -> float:
    """Return the score on the published test texts alone."""
    score, _ = quality_scores.score_of(data, outputs)
    return score(np.arange(data_sets.published_tests(data)))


def _layer_share(arch: Architecture, subnet: Subnet) -> float:
    return arch.layer_parameters(subnet) / arch.layer_parameters(arch.full)


def _best_rate(bench: Bench, size: str, subnet: Subnet, kind: str, flops: float) -> float:
    """Choose a rate by validation: from the second and third on, as long as the next one is better."""
    ladder = RATES[kind]

    def score(at: int) -> float:
        return bench.student(size, subnet, kind, ladder[at], flops).validation

    at, step = (1, -1) if score(1) > score(2) else (2, 1)
    while 0 <= at + step < len(ladder) and score(at + step) > score(at):
        at += step
    return ladder[at]


def _round(
    bench: Bench,
    members: dict[str, Subnet],
    own: dict[str, NDArray[np.float32]],
    rates: dict[tuple[str, str], float],
    kinds: dict[str, tuple[str, ...]],
    flops: float,
) -> dict[str, Any]:
    """Students of these kinds at every size, and the palette's member against the better on test."""
    sizes: dict[str, Any] = {}
    pairs = []
    for size, subnet in members.items():
        students = {kind: bench.student(size, subnet, kind, rates[size, kind], flops) for kind in kinds[size]}
        scores = {kind: quality_scores.whole(bench.data, student.outputs) for kind, student in students.items()}
        better = max(scores, key=scores.__getitem__)
        pairs.append((own[size], students[better].outputs))
        sizes[size] = scores | {
            "better": better,
            "published": [_published(bench.data, outputs) for outputs in pairs[-1]],
            "learning_rates": {kind: rates[size, kind] for kind in students},
            "flops": {kind: student.flops for kind, student in students.items()},
            "wall_s": {kind: student.wall_s for kind, student in students.items()},
        }
        output.log(f"{size}: palette {quality_scores.whole(bench.data, own[size]):.4f}, students {scores}")
    by_size, mean = quality_scores.differences(bench.data, pairs)
    for size, difference in zip(sizes, by_size, strict=True):
        sizes[size]["difference"] = difference.as_list()
    return {"sizes": sizes, "mean_difference": mean.as_list()}
