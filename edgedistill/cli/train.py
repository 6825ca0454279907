"""``edgedistill train``: a pretrained model and data in, a supernet out; ``edgedistill recipe``: its settings."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgedistill.cli.common import AsJson, reported
from edgedistill.cli.output import console, print_json, print_text
from edgedistill.cli.terminal_progress import TerminalProgress
from edgedistill.tasks import TaskName
from edgedistill.workflows.task_data import DEFAULT_TASK
from edgedistill.workflows.training_side import needs_training_side

if TYPE_CHECKING:
    from edgedistill.workflows.training import TrainResult

__all__ = ["LabelColumn", "TextColumns", "recipe", "train"]

TextColumns = Annotated[
    list[str] | None, typer.Option("--text-column", help="The column that holds the text; twice for pairs.")
]
LabelColumn = Annotated[str, typer.Option(help="The column that holds the label.")]
RecipeFile = Annotated[Path | None, typer.Option("--recipe", help="A TOML file; see 'edgedistill recipe'.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", help="Change a key of the recipe: rank=8, depths.epochs=2.")
]


@reported
def recipe(
    file: RecipeFile = None,
    changes: Changes = None,
    task: Annotated[TaskName, typer.Option(help="Whose defaults.")] = DEFAULT_TASK,
    as_json: AsJson = False,
) -> None:
    """Print the whole recipe as TOML, every key with what it does: a file to change and give to train.

    Example: edgedistill recipe --set rank=8 > recipe.toml
    """
    from edgedistill.distillation.recipe import read_recipe, recipe_as_toml

    whole = read_recipe(file, {}, changes or [], task)
    if as_json:
        print_json(whole.model_dump(mode="json"))
    else:
        print_text(needs_training_side(recipe_as_toml)(whole))


@reported
def train(
    model: Annotated[str, typer.Argument(help="A folder with a pretrained encoder or decoder, or a hub id.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write the supernet to.")],
    data: Annotated[
        str | None,
        typer.Option(
            help="A folder with train, validation and test as CSV, JSON, Parquet or Arrow (for text-generation also "
            ".txt), one such file, a hub id, or 'demo'."
        ),
    ] = None,
    unlabelled: Annotated[
        Path | None,
        typer.Option(help="Texts without labels, one a line: the model, fine-tuned already, teaches alone."),
    ] = None,
    task: Annotated[TaskName, typer.Option(help="What the model is for.")] = DEFAULT_TASK,
    text_column: TextColumns = None,
    label_column: LabelColumn = "label",
    recipe_file: RecipeFile = None,
    changes: Changes = None,
    fine_tuned: Annotated[
        bool | None, typer.Option("--fine-tuned", help="The model knows the task: it is the teacher as it is.")
    ] = None,
    random_weights: Annotated[
        bool | None,
        typer.Option("--random-weights", help="Begin a decoder of the model's shape anew: a baseline to compare with."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random; the same gives the same supernet.")] = None,
    as_json: AsJson = False,
) -> None:
    """Train a supernet: every subnet of one pretrained model, together.

    The same command goes on where an interrupted run was, whatever stopped it. Several processes divide each
    batch: start them by 'torchrun --nproc-per-node 2 -m edgedistill train …', or by 'accelerate launch -m'.

    Example: edgedistill train sentence-transformers/all-MiniLM-L6-v2 --data commands -o supernet

    Example: edgedistill train smollm --task text-generation --data wikitext -o supernet
    """
    from edgedistill.distillation.recipe import read_recipe
    from edgedistill.workflows import training

    started = time.monotonic()
    flags = {"seed": seed, "fine_tuned": fine_tuned, "random_weights": random_weights}
    result = training.train(
        model,
        output=output,
        data=data,
        unlabelled=unlabelled,
        task=task,
        text_columns=text_column or ["text"],
        label_column=label_column,
        recipe=read_recipe(recipe_file, flags, changes or [], task),
        progress=TerminalProgress(),
    )
    from edgedistill.distillation.processes import is_first  # it takes a while, and training has it already

    if not is_first():
        return  # the first of several processes speaks for all
    if as_json:
        print_json(_document(result) | {"wall_s": round(time.monotonic() - started, 1)})
    else:
        console.print(
            f"{output} holds a space of {result.subnets} subnets. Next: edgedistill export {output} -o palette"
        )


def _document(result: TrainResult) -> dict[str, Any]:
    """Return the command's JSON document."""
    return {
        "supernet": str(result.supernet),
        "stages": [score.model_dump() for score in result.stages],
        "subnets": result.subnets,
        "layer_parameters": result.layer_parameters,
        "total_parameters": result.total_parameters,
        "trained_parameters": [
            {"matrices": counts.matrices, "vectors": counts.vectors, "head": counts.head, "total": counts.total}
            for counts in result.trained_parameters
        ],
    }
