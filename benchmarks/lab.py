"""What the training benchmarks share: data sets by name, one teacher for every run, results that can be resumed.

A run is a folder under the work folder; what is there is not done again. Results are JSON files in
``benchmarks/results``, one a claim and data set, written when they are complete.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from edgedistill.distillation import mlfs
from edgedistill.distillation.accelerator import accelerator_for, has_bf16
from edgedistill.distillation.batches import epoch_batches
from edgedistill.distillation.cost import forward_flops
from edgedistill.distillation.data import Split, TaskData, load_data
from edgedistill.distillation.evaluation import outputs_of
from edgedistill.distillation.loop import StepReport
from edgedistill.distillation.losses import NoFeatures
from edgedistill.distillation.models import resolve_model
from edgedistill.distillation.recipe import Recipe, StageRecipe
from edgedistill.distillation.stages import SubnetTraining
from edgedistill.distillation.tasks import task_of
from edgedistill.subnet import SearchSpace, SubnetConfig, TaskName
from edgedistill.supernet import checkpoint
from edgedistill.supernet.checkpoint import Supernet

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
RESULTS = Path(__file__).parent / "results"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# Of every run, teachers' and students' alike; quality is measured in fp32. Models as small as these wait for a GPU's
# kernels to start rather than to end, so that bf16 would only add some.
PRECISION: Literal["bf16", "fp32"] = "bf16" if has_bf16() and DEVICE == "cpu" else "fp32"
MACHINE = {"precision": PRECISION, "device": DEVICE}  # for results
_SUBSET = {"sst2": 20_000}  # training sentences, the same ones for every run
_MORE_TESTS = {"sst2": 10_000}  # of the others: the published ones are too few to tell half a point
_DRAWS = 1000  # of the bootstrap

ScoreOf = Callable[[NDArray[np.intp]], float]


@dataclass(frozen=True)
class DataSet:
    """A task on public data, and the teacher's recipe: long enough for its plateau."""

    name: str
    task: TaskName
    text_columns: tuple[str, ...]
    teacher: StageRecipe


def _teacher(epochs: float, learning_rate: float) -> StageRecipe:
    return StageRecipe(epochs=epochs, learning_rate=learning_rate, parameters="low-rank")


DATA_SETS = {
    data.name: data
    for data in (
        DataSet("clinc150", "text-classification", ("text",), _teacher(epochs=4, learning_rate=1e-3)),
        DataSet("sst2", "text-classification", ("text",), _teacher(epochs=3, learning_rate=5e-4)),
        DataSet("stsb", "text-regression", ("sentence1", "sentence2"), _teacher(epochs=6, learning_rate=1e-3)),
    )
}
# The reference sizes: (depth, heads, FFN width), by falling share of MiniLM's layer parameters.
SIZES = {
    "1/2": (6, 6, 768),
    "1/2.4": (6, 3, 768),
    "1/3": (4, 6, 768),
    "1/4": (6, 3, 384),
    "1/6": (4, 3, 384),
    "1/9": (4, 3, 192),
}
HIDDEN = (1.0, 0.5)  # kept shares of the hidden width, where it varies
_EVERY_DEPTH = tuple(depth / 6 for depth in range(6, 0, -1))


def read(folder: Path) -> tuple[DataSet, TaskData]:
    """A data set by its folder's name, cut down where a full run would be too long.

    Where what is published to test on is little, training texts that are not in the subset come after it.
    """
    known = DATA_SETS[folder.name]
    data = load_data(folder, known.task, text_columns=known.text_columns)
    most = _SUBSET.get(folder.name)
    if most is None or len(data.train.texts) <= most:
        return known, data
    assert data.train.labels is not None
    rows = np.random.default_rng(0).permutation(len(data.train.texts))
    others = _chosen(data.train, rows[most : most + _MORE_TESTS[known.name]])
    assert data.test.labels is not None
    assert others.labels is not None
    test = Split(data.test.texts + others.texts, data.test.labels + others.labels)
    return known, replace(data, train=_chosen(data.train, rows[:most]), test=test)


def _chosen(split: Split, rows: NDArray[np.intp]) -> Split:
    assert split.labels is not None
    return Split(tuple(split.texts[row] for row in rows), tuple(split.labels[row] for row in rows))


def published_tests(data: TaskData) -> int:
    """How many of the test texts are the published ones; they come first."""
    return len(data.test.texts) - _MORE_TESTS.get(Path(str(data.source)).name, 0)


def say(text: str) -> None:
    """A line of progress on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def watcher(title: str) -> Callable[[StepReport], None]:
    """Say validation scores as they come."""

    def watch(report: StepReport) -> None:
        if report.scored:
            scores = ", ".join(f"{name} {score.value:.4f}" for name, score in report.scored.items())
            say(f"{title}: stage {report.stage} step {report.step}/{report.steps}: {scores}")

    return watch


def train(
    supernet: Supernet,
    data: TaskData,
    folder: Path,
    *,
    until: int = 2,
    watching: Callable[[Supernet], Callable[[StepReport], None]] | None = None,
) -> Supernet:
    """Train to the end of a stage, or take what is there; goes on where an interrupted run was.

    ``watching`` makes a watcher for the supernet that trains; without it validation scores are said.
    """
    if (folder / "supernet.json").exists():
        supernet = checkpoint.load(folder)
    return mlfs.train(
        supernet,
        data,
        folder,
        watching(supernet) if watching else watcher(folder.name),
        announce=lambda title: say(f"{folder.name}: {title}"),
        accelerator=accelerator_for(Recipe(precision=PRECISION)),
        until=until,
    )


def base_recipe(known: DataSet, seed: int = 0) -> Recipe:
    """The defaults, with the data set's teacher."""
    return Recipe(seed=seed, teacher=known.teacher, precision=PRECISION)


def teacher(
    known: DataSet, data: TaskData, work: Path, order: str = "importance", seed: int = 0, hidden: bool = False
) -> Path:
    """The folder of the supernet after stage 0, stage 0's pairs merged, put in order, every depth named.

    The same for every run on this data set, order and seed; ``hidden`` puts the hidden width in order too.
    """
    folder = work / f"{known.name}-{order}-{seed}{'-hidden' if hidden else ''}"
    if (folder / "supernet.json").exists():
        return folder
    changes = {"order": order, "depth_shares": _EVERY_DEPTH, "hidden_shares": HIDDEN if hidden else (1.0,)}
    recipe = Recipe.model_validate(base_recipe(known, seed).model_dump() | changes)
    begun = mlfs.begin(resolve_model(MODEL), data, recipe.model_copy(update={"order": "importance"}))
    supernet = train(begun, data, work / f"{known.name}-teacher-{seed}", until=0)
    supernet.model.begin_stage(None, torch.Generator())
    supernet.model.freeze()
    info = supernet.info.model_copy(update={"recipe": recipe.model_dump(mode="json")})
    supernet = replace(supernet, info=info)
    supernet = mlfs.order(supernet, mlfs.encode_data(supernet, data), say)
    checkpoint.save(supernet, folder)
    return folder


def space_of(supernet: Supernet, recipe: Recipe) -> SearchSpace:
    """The recipe's space over a teacher that has every depth named."""
    arch, layers = supernet.model.arch, {len(kept): kept for kept in supernet.space.layers}
    depths = tuple(layers[depth] for depth in recipe.depth(arch))
    return SearchSpace(depths, recipe.hidden(arch), recipe.heads(arch), recipe.ffn(arch))


def alone(subnet: SubnetConfig) -> SearchSpace:
    """A space of one uniform subnet: a student that is distilled for itself."""
    first = subnet.layers[0]
    return SearchSpace((subnet.kept,), (subnet.hidden,), (first.heads,), (first.ffn,))


def reference_subnets(teacher_folder: Path) -> dict[str, SubnetConfig]:
    """The six sizes as subnets: the teacher's own layers for each depth."""
    supernet = checkpoint.load(teacher_folder)
    layers = {len(kept): kept for kept in supernet.space.layers}
    hidden = supernet.model.arch.hidden
    return {
        size: SubnetConfig.uniform(layers[depth], hidden=hidden, heads=heads, ffn=ffn)
        for size, (depth, heads, ffn) in SIZES.items()
    }


def start(teacher_folder: Path, folder: Path, recipe: Recipe, space: SearchSpace | None = None) -> Supernet:
    """A copy of the teacher at ``folder``, to train on by this recipe in this space; or what is there already."""
    if not (folder / "supernet.json").exists():
        supernet = checkpoint.load(teacher_folder)
        names = ("rank", "scale", "seed")
        settings = {"recipe": recipe.model_dump(mode="json")} | {name: getattr(recipe, name) for name in names}
        info = supernet.info.model_copy(update=settings)
        checkpoint.save(replace(supernet, info=info, space=space or space_of(supernet, recipe)), folder)
    return checkpoint.load(folder)


def own_flops(supernet: Supernet) -> int:
    """Training FLOPs of stages 1 and 2, without the teacher's pass over the training data."""
    return sum(score.flops for score in supernet.info.scores if score.stage > 0)


def wall_s(supernet: Supernet) -> float:
    """Seconds of stages 1 and 2."""
    return round(sum(score.wall_s for score in supernet.info.scores if score.stage > 0), 1)


def teacher_flops(supernet: Supernet, data: TaskData) -> int:
    """One pass of the frozen teacher over the training data."""
    arch = supernet.model.arch
    return sum(forward_flops(arch, arch.full, rows=1, tokens=tokens) for tokens in _lengths(supernet, data))


def _lengths(supernet: Supernet, data: TaskData) -> list[int]:
    return [len(ids) for ids in mlfs.encode_data(supernet, data).train.ids]


def predicted_flops(supernet: Supernet, data: TaskData, recipe: Recipe, space: SearchSpace) -> float:
    """FLOPs of stages 1 and 2 by a recipe, from the subnets that it would draw."""
    lengths = _lengths(supernet, data)
    batches = epoch_batches(lengths, recipe.batch_size, "cost")
    tokens = round(sum(max(lengths[row] for row in batch) for batch in batches) / len(batches))
    total = 0.0
    for stage, plan in ((1, recipe.widths), (2, recipe.depths)):
        here = space.at_full_depth() if stage == 1 else space
        objective = SubnetTraining(task_of(supernet.info.task), here, recipe, NoFeatures(), None, stage)
        steps = plan.epochs * len(lengths) / recipe.batch_size
        mean = sum(objective.flops(supernet.model, recipe.batch_size, tokens, step) for step in range(300)) / 300
        total += steps * mean
    return total


def at_cost(supernet: Supernet, data: TaskData, recipe: Recipe, space: SearchSpace, flops: float) -> Recipe:
    """The recipe with stages 1 and 2 as long as this many FLOPs allow."""
    factor = flops / predicted_flops(supernet, data, recipe, space)
    longer = {
        name: plan.model_copy(update={"epochs": plan.epochs * factor, "least_steps": 1})
        for name, plan in (("widths", recipe.widths), ("depths", recipe.depths))
    }
    return recipe.model_copy(update=longer)


def answers(supernet: Supernet, subnet: SubnetConfig, data: TaskData, split: str = "test") -> NDArray[np.float32]:
    """The subnet's outputs [units, c] on a split; from a GPU where there is one."""
    rows = getattr(mlfs.encode_data(supernet, data), split)
    model = supernet.encoder.to(DEVICE)
    found = outputs_of(model, subnet, rows, task_of(supernet.info.task))
    model.cpu()
    return np.asarray(found, dtype=np.float32)


def score_of(data: TaskData, outputs: NDArray[np.float32], split: str = "test") -> tuple[ScoreOf, int]:
    """The headline metric of any choice of a split's examples, and how many there are."""
    labels, task = getattr(data, split).labels, task_of(data.task)
    values, examples = task.redrawn(outputs, labels, data.label_names, None)
    return (lambda rows: values(rows)[task.headline]), examples


def whole(data: TaskData, outputs: NDArray[np.float32], split: str = "test") -> float:
    """The headline metric on all of a split."""
    score, examples = score_of(data, outputs, split)
    return score(np.arange(examples))


@dataclass(frozen=True)
class Difference:
    """Ours less theirs in points, with a paired bootstrap's 95 % interval over test examples."""

    points: float
    low: float
    high: float

    def as_list(self) -> list[float]:
        """For JSON."""
        return [round(value, 3) for value in (self.points, self.low, self.high)]


def differences(
    data: TaskData, pairs: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]
) -> tuple[list[Difference], Difference]:
    """Of each pair (ours, theirs) of outputs on test, and of their mean; the same examples drawn for all."""
    scores = [(score_of(data, ours), score_of(data, theirs)) for ours, theirs in pairs]
    examples = scores[0][0][1]
    rng = np.random.default_rng(0)
    draws = [np.arange(examples), *(rng.integers(0, examples, examples) for _ in range(_DRAWS))]
    found = np.array([[100 * (ours(rows) - theirs(rows)) for (ours, _), (theirs, _) in scores] for rows in draws])
    return [_difference(column) for column in found.T], _difference(found.mean(1))


def _difference(drawn: NDArray[np.float64]) -> Difference:
    low, high = np.percentile(drawn[1:], [2.5, 97.5])
    return Difference(float(drawn[0]), float(low), float(high))


def keep(name: str, result: Mapping[str, Any]) -> None:
    """Write the result beside the benchmarks, and print it as the last line."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))
