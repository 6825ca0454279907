"""Recipes: what a file, changes and flags make together, and what is refused in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import tiny_encoder

from edgedistill.distillation.recipe import Recipe, StageRecipe, read_recipe, recipe_as_toml
from edgedistill.errors import RecipeError

LOW_RANK = StageRecipe(epochs=1, learning_rate=1e-3, parameters="low-rank")


def test_the_printed_recipe_reads_back_to_the_same(tmp_path: Path) -> None:
    paper = {"features": "relations", "maxnet": True, "alternate": False}
    changed = Recipe.model_validate(
        {"rank": 4, "clip_norm": None, "micro_batch": 8, "patience": 2, "hidden_shares": (1.0, 0.5)} | paper
    )
    for recipe in (Recipe(), changed):
        (tmp_path / "recipe.toml").write_text(recipe_as_toml(recipe))
        assert read_recipe(tmp_path / "recipe.toml", {}) == recipe


def test_every_key_says_what_it_does() -> None:
    for model in (Recipe, StageRecipe):
        assert all(field.description for field in model.model_fields.values())


def test_flags_come_before_changes_and_changes_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("seed = 1\nrank = 4\n[depths]\nepochs = 9\n")
    recipe = read_recipe(tmp_path / "recipe.toml", {"seed": 3, "fine_tuned": None}, ["seed=2", "rank=8"])
    assert (recipe.seed, recipe.rank) == (3, 8)
    assert recipe.depths == Recipe().depths.model_copy(update={"epochs": 9})  # the stage's other keys stay


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("rnak=8", "unknown key 'rnak'; known are seed"),
        ("depths.epoch=2", "unknown key 'depths.epoch'; known are epochs"),
        ("rank=0", "rank is 0"),
        ("beta=inf", "beta is inf"),
        ("gamma=inf", "gamma is inf"),
        ("rank=many", "rank is 'many'"),
        ("features=all", "features is 'all'"),
        ("depths.learning_rate=nan", "depths.learning_rate is nan"),
        ("rank", "expected key=value"),
        ("seed.x=1", "seed"),
        ("head_shares=[0.5, 0.25]", "expected different shares from 1 downwards"),
        ("head_shares=[1.0, 1.0]", "expected different shares from 1 downwards"),
        ("depth_shares=[1.0, 0.0]", "depth_shares"),
        ("teacher_source=maxnet", "set maxnet = true"),
        ("maxnet=true", "set alternate = false"),
        ("features=relations", "set maxnet = true"),
        ("minnet=false", None),
    ],
)
def test_changes_that_are_refused(change: str, says: str | None) -> None:
    if says is None:
        assert not read_recipe(None, {}, [change]).minnet
        with pytest.raises(RecipeError, match="no subnet would train"):
            read_recipe(None, {}, [change, "random_subnets=0"])
        return
    with pytest.raises(RecipeError, match=says) as caught:
        read_recipe(None, {}, [change])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"rank = = 8", b"\xff\xfe\x00", b"# caf\xe9", None])
def test_a_file_that_is_no_recipe(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "recipe.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(RecipeError, match=r"recipe\.toml") as caught:
        read_recipe(file, {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_before_a_recipe_is_not_part_of_it(tmp_path: Path, codec: str) -> None:
    file = tmp_path / "recipe.toml"
    file.write_bytes("rank = 4\r\nseed = 7\r\n".encode(codec))
    assert (read_recipe(file, {}).rank, read_recipe(file, {}).seed) == (4, 7)


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        (Recipe(head_shares=(1.0, 0.3)), "head_shares: 0.3 of 12 is not a whole number"),
        (Recipe(hidden_shares=(1.0, 0.001)), "hidden_shares: 0.001 of 384"),
        (Recipe(rank=33, head_shares=(1.0, 1 / 12), depths=LOW_RANK), "rank is 33, over the narrowest matrix"),
        (Recipe(rank=400), "rank is 400, over the narrowest matrix"),
    ],
)
def test_widths_and_ranks_that_a_model_cannot_have(recipe: Recipe, says: str) -> None:
    arch = replace(tiny_encoder.ARCH, layers=6, hidden=384, heads=12, head_size=32, ffn=1536)
    Recipe().check(arch)
    with pytest.raises(RecipeError, match=says):
        recipe.check(arch)


def test_full_parameters_have_no_rank_to_check() -> None:
    full = StageRecipe(epochs=1, learning_rate=1e-4, parameters="full")
    Recipe(rank=10**6, teacher=full).check(replace(tiny_encoder.ARCH, heads=4))
