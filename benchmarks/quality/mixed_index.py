"""Measure how well one member's queries search another member's index of vectors.

Claim: recall@10 of a member's queries in the full model's index is at most 3 points below that in its own index, on
the distinct test sentences of STS-B. The truth is the teacher's own neighbours.

Needs: stsb
Takes: about 40 minutes
"""

from __future__ import annotations

from benchmarks.shared import output, training_runs
from benchmarks.shared.arguments import DataFolder, Share, WorkFolder
from edgedistill.data.readers import load_data
from edgedistill.distillation import mlfs
from edgedistill.distillation.evaluation import outputs_of
from edgedistill.distillation.models import resolve_model
from edgedistill.distillation.recipe import Recipe
from edgedistill.exporters.mixing import distinct_rows, measure_mixing
from edgedistill.tasks import task_of


def main(data_folder: DataFolder, work: WorkFolder, share: Share = 1.0) -> None:
    """Train a palette of sentence encoders, and save the recall of each pair."""
    data = load_data(data_folder, "sentence-embedding", text_columns=("sentence1", "sentence2"))
    recipe = Recipe(precision=training_runs.PRECISION)
    longer = {
        name: getattr(recipe, name).model_copy(update={"epochs": getattr(recipe, name).epochs * share})
        for name in ("widths", "depths")
    }
    folder = work / f"embeddings-{share:g}"
    supernet = training_runs.train(
        mlfs.build_supernet(resolve_model(training_runs.MODEL), data, recipe.model_copy(update=longer)), data, folder
    )
    task, rows = task_of("sentence-embedding"), mlfs.encode_data(supernet, data).test
    members = {"1/1": supernet.model.arch.full, **training_runs.reference_subnets(folder)}
    outputs = {size: outputs_of(supernet.model, subnet, rows).numpy() for size, subnet in members.items()}
    mixing = measure_mixing({size: found[distinct_rows(rows)] for size, found in outputs.items()}, "test")
    assert mixing is not None
    assert data.test.labels is not None
    output.save_result(
        "mixed-index-stsb",
        {
            "texts": mixing.texts,
            "share": share,
            "spearman": {
                size: task.metrics(found, rows.labels or (), ())["spearman"] for size, found in outputs.items()
            },
            "recall": mixing.recall,
            "mixed_less_own": {
                size: round(100 * (of["1/1"] - of[size]), 2) for size, of in mixing.recall.items() if size != "1/1"
            },
        },
    )
