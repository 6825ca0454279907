"""A palette from texts alone is as good as one from labelled rows.

Claim: on the same training texts, with the same teacher, recipe and FLOPs, the palette that never sees a label
(not in its loss, its importance order nor its choice of layers) is within 0.5 points of the labelled one, mean
over six sizes.

Usage: python benchmarks/without_labels.py DATA WORK [SHARE], after separate_distillation.py with the same ones,
whose palette is the labelled side.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import lab

from edgedistill.distillation import mlfs
from edgedistill.distillation.data import Split
from edgedistill.distillation.recipe import Recipe
from edgedistill.supernet import checkpoint


def main(data_folder: str, work_folder: str, share: str = "0.5") -> None:
    """Order and train without labels; keep the comparison."""
    known, data = lab.read(Path(data_folder))
    work = Path(work_folder)
    teacher = lab.teacher(known, data, work)
    labelled = checkpoint.load(work / f"{teacher.name}-palette-{float(share):g}")
    blind = replace(data, train=Split(data.train.texts, None), validation=Split(data.validation.texts, None))
    unordered = checkpoint.load(teacher)
    recipe = Recipe.model_validate(labelled.info.recipe)
    anew = work / f"{known.name}-unlabelled"
    if not (anew / "supernet.json").exists():
        ordered = mlfs.order(unordered, mlfs.encode_data(unordered, blind), lab.say)
        checkpoint.save(ordered, anew)
    folder = work / f"{known.name}-unlabelled-palette-{float(share):g}"
    supernet = lab.train(lab.start(anew, folder, recipe), blind, folder)
    scores: dict[str, dict[str, float]] = {}
    pairs = []
    theirs, ours = lab.reference_subnets(teacher), lab.reference_subnets(anew)
    for size, subnet in ours.items():
        pair = lab.answers(supernet, subnet, data), lab.answers(labelled, theirs[size], data)
        pairs.append(pair)
        scores[size] = dict(zip(("without", "with"), (lab.whole(data, outputs) for outputs in pair), strict=True))
    by_size, mean = lab.differences(data, pairs)
    result: dict[str, Any] = {
        "data": known.name,
        "share": float(share),
        "sizes": {
            size: scores[size] | {"difference": difference.as_list()}
            for size, difference in zip(scores, by_size, strict=True)
        },
        "mean_difference": mean.as_list(),
        "flops": {"without": lab.own_flops(supernet), "with": lab.own_flops(labelled)},
    }
    lab.keep(f"without-labels-{known.name}", result)


if __name__ == "__main__":
    main(*sys.argv[1:])
