"""Compare a palette from texts alone with one from labelled rows.

Claim: on the same training texts, with the same teacher, recipe and FLOPs, the palette that never sees a label is
within 0.5 points of the labelled one, in the mean of six sizes. It sees no label in its loss, its importance order or
its choice of layers.

Needs: the palette of `separate-distillation` with the same DATA, WORK and --share
Takes: about 40 minutes with --share 1
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.shared import data_sets, output, quality_scores, training_runs
from benchmarks.shared.arguments import DataFolder, Share, WorkFolder
from edgedistill.data.dataset import Split
from edgedistill.distillation import mlfs
from edgedistill.distillation.recipe import Recipe
from edgedistill.supernet import checkpoint


def main(data_folder: DataFolder, work: WorkFolder, share: Share = 0.5) -> None:
    """Order and train without labels, and save the comparison."""
    known, data = data_sets.read(data_folder)
    labelled = checkpoint.load(training_runs.trained_palette(known, work, share))
    teacher = training_runs.teacher(known, data, work)
    blind = replace(data, train=Split(data.train.texts, None), validation=Split(data.validation.texts, None))
    unordered = checkpoint.load(teacher)
    recipe = Recipe.model_validate(labelled.info.recipe)
    anew = work / f"{known.name}-unlabelled"
    if not (anew / "supernet.json").exists():
        ordered = mlfs.order(unordered, mlfs.encode_data(unordered, blind), output.log)
        checkpoint.save(ordered, anew)
    folder = work / f"{known.name}-unlabelled-palette-{share:g}"
    supernet = training_runs.train(training_runs.start(anew, folder, recipe), blind, folder)
    scores: dict[str, dict[str, float]] = {}
    pairs = []
    theirs, ours = training_runs.reference_subnets(teacher), training_runs.reference_subnets(anew)
    for size, subnet in ours.items():
        pair = training_runs.answers(supernet, subnet, data), training_runs.answers(labelled, theirs[size], data)
        pairs.append(pair)
        scores[size] = dict(
            zip(("without", "with"), (quality_scores.whole(data, outputs) for outputs in pair), strict=True)
        )
    by_size, mean = quality_scores.differences(data, pairs)
    result: dict[str, Any] = {
        "data": known.name,
        "share": share,
        "sizes": {
            size: scores[size] | {"difference": difference.as_list()}
            for size, difference in zip(scores, by_size, strict=True)
        },
        "mean_difference": mean.as_list(),
        "flops": {"without": training_runs.own_flops(supernet), "with": training_runs.own_flops(labelled)},
    }
    output.save_result(f"without-labels-{known.name}", result)
