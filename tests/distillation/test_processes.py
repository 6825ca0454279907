"""Two processes that share each batch end with the weights of one that has it whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_text
import torch
from commands import invoke
from tiny_training import RECIPE, model_folder, rows, same_weights

from edgedistill.distillation.recipe import Recipe, recipe_as_toml
from edgedistill.supernet import checkpoint

# The command, with state saved after every step and one process that comes late to each: as a slow machine would.
_SKEWED = """
import json, os, pathlib, sys, time
from edgedistill.cli import main
from edgedistill.distillation import loop
loop._SAVED_EVERY_S = 0.05
run = loop.StageLoop.run
def late(*arguments):
    time.sleep(0.04 * int(os.environ["RANK"]))
    return run(*arguments)
loop.StageLoop.run = late
for sys.argv in json.loads(pathlib.Path(sys.argv[1]).read_text()):
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""
SGD = {"optimizer": "sgd"}
ENCODERS: dict[str, tuple[dict[str, object], float]] = {
    "batches of 8": (SGD | {"batch_size": 8}, 1e-5),
    "batches of 7": (SGD | {"batch_size": 7}, 1e-5),
    "the minnet alone, by Adam": ({"batch_size": 8, "random_subnets": 0}, 1e-3),  # first steps go by a gradient's sign
}
FAST: dict[str, tuple[dict[str, object], float]] = {"batches of 3": (SGD | {"batch_size": 3}, 1e-5)}
DECODERS: dict[str, dict[str, object]] = {
    "teacher": {},
    "random, labels too": {"batch_size": 7, "alpha": 0.5, "random_weights": True},
}


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the runs that are not long, all trained by the same two processes, one after the other."""
    folder = tmp_path_factory.mktemp("processes")
    encoders = {name: _encoder(folder / name, changes) for name, (changes, _) in FAST.items()}
    _train_by_two(folder, encoders | {name: _decoder(folder / name, changes) for name, changes in DECODERS.items()})
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", FAST)
def test_two_processes_train_to_the_weights_of_one(by_two: Path, name: str) -> None:
    """Of 40 rows: batches of 8; of 7, of which a process has fewer; of 3, whose last one leaves a process with none.

    The launcher's variables tell Accelerate of the processes; without a GPU gloo carries what they sum. With the
    minnet alone layers go without a gradient, which must not move them.
    """
    _assert_as_one(by_two / name, _command(by_two / name), FAST[name][1])


@pytest.mark.long
@pytest.mark.parametrize("name", ENCODERS)
def test_two_processes_train_more_recipes_to_the_weights_of_one(tmp_path: Path, name: str) -> None:
    changes, tolerance = ENCODERS[name]
    _train_by_two(tmp_path, {name: _encoder(tmp_path / name, changes)})
    _assert_as_one(tmp_path / name, _command(tmp_path / name), tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("name", DECODERS)
def test_two_processes_train_a_decoder_to_the_weights_of_one(by_two: Path, name: str) -> None:
    """Each with a frozen teacher of its own."""
    _assert_as_one(by_two / name, [*_command(by_two / name), "--task", "text-generation"], 1e-5)


def _train_by_two(folder: Path, commands: dict[str, list[str]]) -> None:
    """Let two processes run the commands; for each, ``NAME/two`` is its supernet and ``NAME/two.json`` what it says."""
    (folder / "skewed.py").write_text(_SKEWED)
    whole = [["edgedistill", *command, "-o", str(folder / name / "two")] for name, command in commands.items()]
    (folder / "commands.json").write_text(json.dumps(whole))
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(folder / "skewed.py")]
    two = [sys.executable, *launch, str(folder / "commands.json")]
    done = subprocess.run(two, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    documents = _documents(done.stdout)  # one of each command, though two processes ran
    for name, document in zip(commands, documents, strict=True):
        (folder / name / "two.json").write_text(json.dumps(document))


def _documents(text: str) -> list[Any]:
    decoder, found = json.JSONDecoder(), []
    while text := text.lstrip():
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:]
    return found


def _assert_as_one(folder: Path, command: list[str], tolerance: float) -> None:
    alone = invoke(*command, "-o", folder / "one")
    assert alone.exit_code == 0, alone.output
    ours, theirs = json.loads((folder / "two.json").read_text()), json.loads(alone.stdout)
    assert [stage["flops"] for stage in ours["stages"]] == [stage["flops"] for stage in theirs["stages"]]
    same_weights(*(_weights(folder / name) for name in ("two", "one")), tolerance)
    assert not list(folder.glob(".*"))


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    """All but what a softmax over keys makes no difference of: its gradient is rounding, whose sign Adam goes by."""
    state = checkpoint.load(folder).model.state_dict()
    return {name: tensor for name, tensor in state.items() if not name.endswith("key.bias")}


def _encoder(folder: Path, changes: dict[str, object]) -> list[str]:
    """Return the command and its arguments but the last, and write what they name."""
    model_folder(folder / "model")
    (folder / "data").mkdir()
    lines = [json.dumps({"text": text, "label": label}) for text, label in rows()]
    for split, part in (("train", lines), ("validation", lines[:20]), ("test", lines[20:])):
        (folder / "data" / f"{split}.jsonl").write_text("\n".join(part))
    recipe = Recipe.model_validate(RECIPE.model_dump() | {"dropout": 0.0, "micro_batch": 2} | changes)
    (folder / "recipe.toml").write_text(recipe_as_toml(recipe))
    return _command(folder)


def _decoder(folder: Path, changes: dict[str, object]) -> list[str]:
    tiny_text.model_folder(folder / "model")
    tiny_text.write(folder / "data")
    recipe = Recipe.model_validate(tiny_text.RECIPE.model_dump() | {"optimizer": "sgd", "micro_batch": 2} | changes)
    (folder / "recipe.toml").write_text(recipe_as_toml(recipe))
    return [*_command(folder), "--task", "text-generation"]


def _command(folder: Path) -> list[str]:
    given = ("--data", folder / "data", "--recipe", folder / "recipe.toml", "--json")
    return ["train", str(folder / "model"), *map(str, given)]
