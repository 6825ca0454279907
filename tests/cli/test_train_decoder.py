"""``edgedistill train --task text-generation``: from text to a supernet, and bad input in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import shared_data
import tiny_text
from commands import invoke, one_line

from edgedistill.distillation.recipe import Recipe, read_recipe, recipe_as_toml
from edgedistill.supernet import checkpoint


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a model, text and a recipe."""
    tiny_text.model_folder(tmp_path / "model")
    tiny_text.write(tmp_path / "text")
    (tmp_path / "recipe.toml").write_text(recipe_as_toml(tiny_text.RECIPE))
    return tmp_path


def _train(place: Path, *more: object, model: object = "model", data: object = "text") -> tuple[object, ...]:
    given = ("--task", "text-generation", "--data", place / str(data), "--recipe", place / "recipe.toml", *more)
    return ("train", place / str(model), *given, "-o", place / "out", "--json")


@pytest.mark.slow
def test_text_becomes_a_supernet_and_the_command_again_goes_on(place: Path) -> None:
    first, again = invoke(*_train(place)), invoke(*_train(place))
    assert first.exit_code == 0, first.output
    document, same = json.loads(first.stdout), json.loads(again.stdout)
    assert document | {"wall_s": 0} == same | {"wall_s": 0}
    assert [stage["stage"] for stage in document["stages"]] == [0, 1, 2]
    assert document["stages"][2]["metrics"].keys() == {"next_token_accuracy", "perplexity"}
    supernet = checkpoint.load(place / "out")
    assert (supernet.info.task, supernet.info.labels) == ("text-generation", [])
    assert len(supernet.space) == document["subnets"] == 8
    one_line(invoke(*_train(place, "--set", "alpha=0.5")), "with other settings")


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["--fine-tuned", "--random-weights"])
def test_where_stage_0_begins(place: Path, flag: str) -> None:
    trained = invoke(*_train(place, flag))
    assert trained.exit_code == 0, trained.output
    first = json.loads(trained.stdout)["stages"][0]
    assert (first["steps"] == 0) == (flag == "--fine-tuned")


@pytest.mark.slow
def test_a_folder_of_llama2c_is_a_model(place: Path) -> None:
    stories = shared_data.folder("stories260K")
    options = ("--set", "max_tokens=32", "--set", "head_shares=[1.0, 0.75]", "--fine-tuned")
    trained = invoke(*_train(place, *options, model=stories))
    assert trained.exit_code == 0, trained.output
    supernet = checkpoint.load(place / "out")
    assert supernet.space.heads == (8, 6)
    assert supernet.info.generation is not None
    assert supernet.info.generation.eos_token_ids == [1, 2]
    assert supernet.tokenizer.encode("Once upon a time").ids[0] == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpt2", "gpt_bigcode"])
def test_other_families_train(place: Path, name: str) -> None:
    tiny_text.model_folder(place / "other", name)
    trained = invoke(*_train(place, model="other"))
    assert trained.exit_code == 0, trained.output


def test_bad_input_is_one_clear_line(place: Path, tmp_path: Path) -> None:
    (place / "empty").mkdir()
    one_line(invoke(*_train(place, data="empty")), "has no train file; expected train.csv or")
    one_line(invoke(*_train(place, "--set", "max_tokens=30", data="text/none.txt")), "is not a folder")
    (place / "few").mkdir()
    for split, words in (("train", 100), ("validation", 5), ("test", 5)):
        (place / "few" / f"{split}.txt").write_text(tiny_text.text(words))
    one_line(invoke(*_train(place, data="few")), "validation has 6 tokens, too few for one row of 16")
    small = tiny_text.model_folder(place / "small", vocab_size=20)
    one_line(invoke(*_train(place, model="small")), "the embedding table has 20 rows; resize the embeddings")
    narrow = tiny_text.model_folder(place / "narrow", intermediate_size=8)
    shutil.copy(place / "model" / "model.safetensors", narrow)
    one_line(invoke(*_train(place, model="narrow")), "has no fitting tensor")
    (small / "config.json").write_text(json.dumps({"model_type": "bert"}))
    one_line(invoke(*_train(place, model="small")), "'bert' is not a supported decoder")
    (small / "tokenizer.json").unlink()
    one_line(invoke("train", place / "model", "--data", "demo", "-o", place / "out"), "'llama' is not supported")
    one_line(invoke(*_train(place, "--unlabelled", place / "text" / "train.txt")), "learns from text itself")
    assert not (place / "out").exists()


def test_the_recipe_of_a_task_is_printed_whole(tmp_path: Path) -> None:
    printed = invoke("recipe", "--task", "text-generation")
    (tmp_path / "recipe.toml").write_text(printed.stdout)
    assert read_recipe(tmp_path / "recipe.toml", {}) == read_recipe(None, {}, (), "text-generation") != Recipe()
