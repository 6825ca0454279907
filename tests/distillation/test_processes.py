"""Two processes that share each batch end with the weights of one that has it whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_text
import torch
from commands import invoke
from tiny_training import RECIPE, model_folder, rows, same_weights

from edgedistill.distillation.recipe import Recipe, recipe_as_toml
from edgedistill.supernet import checkpoint

# The command, with state saved after every step and one process that comes late to each: as a slow machine would.
_SKEWED = """
import os, sys, time
from edgedistill.cli import main
from edgedistill.distillation import loop
loop._SAVED_EVERY_S = 0.05
run = loop.StageLoop.run
def late(*arguments):
    time.sleep(0.04 * int(os.environ["RANK"]))
    return run(*arguments)
loop.StageLoop.run = late
main()
"""


@pytest.mark.parametrize(
    ("changes", "tolerance"),
    [
        pytest.param({"batch_size": 8, "optimizer": "sgd"}, 1e-5, marks=pytest.mark.long),
        pytest.param({"batch_size": 7, "optimizer": "sgd"}, 1e-5, marks=pytest.mark.long),
        ({"batch_size": 3, "optimizer": "sgd"}, 1e-5),
        pytest.param(
            {"batch_size": 8, "random_subnets": 0}, 1e-3, marks=pytest.mark.long
        ),  # by Adam, whose first steps go by a gradient's sign
    ],
)
def test_two_processes_train_to_the_weights_of_one(
    tmp_path: Path, changes: dict[str, object], tolerance: float
) -> None:
    """Of 40 rows: batches of 8; of 7, of which a process has fewer; of 3, whose last one leaves a process with none.

    The launcher's variables tell Accelerate of the processes; without a GPU gloo carries what they sum. With the
    minnet alone layers go without a gradient, which must not move them.
    """
    _assert_two_train_as_one(tmp_path, _training(tmp_path, changes), tolerance)


@pytest.mark.parametrize(
    "changes", [{}, {"batch_size": 7, "alpha": 0.5, "random_weights": True}], ids=["teacher", "random, labels too"]
)
def test_two_processes_train_a_decoder_to_the_weights_of_one(tmp_path: Path, changes: dict[str, object]) -> None:
    """Each with a frozen teacher of its own."""
    tiny_text.model_folder(tmp_path / "model")
    tiny_text.write(tmp_path / "data")
    recipe = Recipe.model_validate(tiny_text.RECIPE.model_dump() | {"optimizer": "sgd", "micro_batch": 2} | changes)
    (tmp_path / "recipe.toml").write_text(recipe_as_toml(recipe))
    _assert_two_train_as_one(tmp_path, [*_command(tmp_path), "--task", "text-generation"], 1e-5)


def _assert_two_train_as_one(tmp_path: Path, command: list[str], tolerance: float) -> None:
    (tmp_path / "skewed.py").write_text(_SKEWED)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(tmp_path / "skewed.py")]
    two = [sys.executable, *launch, *command, "-o", str(tmp_path / "two")]
    done = subprocess.run(two, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    ours = json.loads(done.stdout)  # one document, though two processes ran
    alone = invoke(*command, "-o", tmp_path / "one")
    assert alone.exit_code == 0, alone.output
    theirs = json.loads(alone.stdout)
    assert [stage["flops"] for stage in ours["stages"]] == [stage["flops"] for stage in theirs["stages"]]
    same_weights(*(_weights(tmp_path / name) for name in ("two", "one")), tolerance)
    assert not list(tmp_path.glob(".*"))


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    """All but what a softmax over keys makes no difference of: its gradient is rounding, whose sign Adam goes by."""
    state = checkpoint.load(folder).model.state_dict()
    return {name: tensor for name, tensor in state.items() if not name.endswith("key.bias")}


def _training(folder: Path, changes: dict[str, object]) -> list[str]:
    """The command and its arguments but the last, and what they name."""
    model_folder(folder / "model")
    (folder / "data").mkdir()
    lines = [json.dumps({"text": text, "label": label}) for text, label in rows()]
    for split, part in (("train", lines), ("validation", lines[:20]), ("test", lines[20:])):
        (folder / "data" / f"{split}.jsonl").write_text("\n".join(part))
    recipe = Recipe.model_validate(RECIPE.model_dump() | {"dropout": 0.0, "micro_batch": 2} | changes)
    (folder / "recipe.toml").write_text(recipe_as_toml(recipe))
    return _command(folder)


def _command(folder: Path) -> list[str]:
    given = ("--data", folder / "data", "--recipe", folder / "recipe.toml", "--json")
    return ["train", str(folder / "model"), *map(str, given)]
