"""Renamed options and recipe keys: refused with the new name, and read where a supernet has recorded them."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import invoke, one_line

from edgedistill.distillation.recipe import Recipe, read_recipe
from edgedistill.errors import InputError, RecipeError
from edgedistill.renamed import RENAMED_OPTIONS, RENAMED_RECIPE_KEYS, renamed_option
from edgedistill.runtime import TextClassifier

COMMANDS = {"--false-accepts": "run", "--profiled": "search", "--picture": "search", "--against": "search"}


@pytest.mark.parametrize("old", RENAMED_OPTIONS)
def test_an_old_option_is_refused_with_the_new_one(old: str, tmp_path: Path) -> None:
    done = invoke(COMMANDS[old], tmp_path, old, "0.5")
    assert done.exit_code == 2
    assert f"{old} is now {RENAMED_OPTIONS[old]}" in done.stderr
    shown = invoke(COMMANDS[old], "--help").stdout
    assert RENAMED_OPTIONS[old] in shown
    assert f"{old} " not in shown


@pytest.mark.parametrize("change", ["teach=maxnet", "in_turn=false", "depths.least_steps=4"])
def test_an_old_recipe_key_is_refused_with_the_new_one(change: str, tmp_path: Path) -> None:
    key = change.partition("=")[0]
    *stage, old = key.split(".")
    new = ".".join([*stage, RENAMED_RECIPE_KEYS[old]])
    one_line(invoke("recipe", "--set", change), f"{key} is now {new}")
    path = tmp_path / "recipe.toml"
    path.write_text(change.replace("maxnet", '"maxnet"'), encoding="utf-8")
    with pytest.raises(RecipeError, match=f"{key} is now {new}"):
        read_recipe(path, {})


def test_a_recorded_recipe_keeps_its_meaning() -> None:
    recorded = {
        "teach": "maxnet",
        "maxnet": True,
        "in_turn": False,
        "depths": {"epochs": 1, "least_steps": 7, "learning_rate": 1},
    }
    recipe = Recipe.model_validate(recorded)
    assert (recipe.teacher_source, recipe.alternate, recipe.depths.min_steps) == ("maxnet", False, 7)


def test_an_old_parameter_is_refused_with_the_new_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="false_accepts is now false_accept_rate"):
        TextClassifier(tmp_path, false_accepts=0.1)
    assert renamed_option(["--plot", "threads"]) is None
