"""Two processes that share each batch end with the weights of one that has it whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from commands import invoke
from tiny_training import RECIPE, model_folder, rows, same_weights

from edgedistill.distillation.recipe import Recipe, recipe_as_toml
from edgedistill.supernet import checkpoint


@pytest.mark.parametrize("batch_size", [8, 7, 3])
def test_two_processes_train_to_the_weights_of_one(tmp_path: Path, batch_size: int) -> None:
    """Of 40 rows: batches of 8; of 7, of which a process has fewer; of 3, whose last one leaves a process with none.

    The launcher's variables tell Accelerate of the processes; without a GPU gloo carries what they sum.
    """
    command = _training(tmp_path, batch_size)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "edgedistill"]
    two = [sys.executable, *launch, *command, "-o", str(tmp_path / "two")]
    done = subprocess.run(two, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    ours = json.loads(done.stdout)  # one document, though two processes ran
    alone = invoke(*command, "-o", tmp_path / "one")
    assert alone.exit_code == 0, alone.output
    theirs = json.loads(alone.stdout)
    assert [stage["flops"] for stage in ours["stages"]] == [stage["flops"] for stage in theirs["stages"]]
    same_weights(*(checkpoint.load(tmp_path / name).model.state_dict() for name in ("two", "one")), 1e-5)
    assert not list(tmp_path.glob(".*"))


def _training(folder: Path, batch_size: int) -> list[str]:
    """The command and its arguments but the last, and what they name."""
    model_folder(folder / "model")
    (folder / "data").mkdir()
    lines = [json.dumps({"text": text, "label": label}) for text, label in rows()]
    for split, part in (("train", lines), ("validation", lines[:20]), ("test", lines[20:])):
        (folder / "data" / f"{split}.jsonl").write_text("\n".join(part))
    changes = {"batch_size": batch_size, "dropout": 0.0, "micro_batch": 2, "optimizer": "sgd"}
    recipe = Recipe.model_validate(RECIPE.model_dump() | changes)
    (folder / "recipe.toml").write_text(recipe_as_toml(recipe))
    given = ("--data", folder / "data", "--recipe", folder / "recipe.toml", "--json")
    return ["train", str(folder / "model"), *map(str, given)]
