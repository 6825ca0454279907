"""The train command on a tiny checkpoint: recipes, going on, and texts without labels."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from commands import invoke, one_line
from tiny_training import SHORT_RECIPE_FILE, model_folder, rows

from edgedistill.distillation.recipe import Recipe, read_recipe
from edgedistill.palette import load
from edgedistill.supernet import checkpoint


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A model, a folder of data and a recipe."""
    model_folder(tmp_path / "model")
    (tmp_path / "data").mkdir()
    lines = [json.dumps({"text": text, "label": label}) for text, label in rows()]
    for split, part in (("train", lines), ("validation", lines[:20]), ("test", lines[20:])):
        (tmp_path / "data" / f"{split}.jsonl").write_text("\n".join(part))
    (tmp_path / "texts.txt").write_text("\n".join(text for text, _ in rows(400)) + "\n")
    (tmp_path / "recipe.toml").write_text(SHORT_RECIPE_FILE)
    return tmp_path


def test_flags_override_the_recipe_and_the_same_command_changes_nothing(place: Path) -> None:
    command = ("train", place / "model", "--data", place / "data", "-o", place / "out", "--json")
    command += ("--recipe", place / "recipe.toml", "--set", "depths.epochs=2", "--set", "rank=3", "--seed", "7")
    first, again = invoke(*command), invoke(*command)
    assert first.exit_code == 0, first.output
    document, same = json.loads(first.stdout), json.loads(again.stdout)
    assert document | {"wall_s": 0} == same | {"wall_s": 0}
    assert [stage["steps"] for stage in document["stages"]] == [5, 5, 10]
    recipe = checkpoint.load(place / "out").info.recipe
    assert (recipe["rank"], recipe["seed"], recipe["batch_size"]) == (3, 7, 8)
    one_line(invoke(*command, "--set", "rank=2"), "with other settings")
    assert checkpoint.load(place / "out").info.recipe == recipe


def test_what_recipe_prints_is_a_recipe(tmp_path: Path) -> None:
    printed = invoke("recipe", "--set", "rank=4", "--set", "depths.epochs=1")
    (tmp_path / "recipe.toml").write_text(printed.stdout)
    assert json.loads(invoke("recipe", "--set", "rank=4", "--json").stdout)["rank"] == 4
    assert read_recipe(tmp_path / "recipe.toml", {}) == read_recipe(None, {}, ["rank=4", "depths.epochs=1"])
    assert all(f"{key} = " in printed.stdout or f"[{key}]" in printed.stdout for key in Recipe.model_fields)


def test_a_recipe_without_its_toml_writer_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tomlkit", None)
    one_line(invoke("recipe"), "this needs tomlkit; install the workstation side: pip install 'edgedistill[train]'")
    assert invoke("recipe", "--json").exit_code == 0


@pytest.mark.slow
def test_texts_alone_become_a_palette(place: Path) -> None:
    """By a model that knows the task: its labels, and agreement with it as the score."""
    given = ("--unlabelled", place / "texts.txt", "--recipe", place / "recipe.toml", "-o", place / "out")
    trained = invoke("train", place / "model", *given)
    assert trained.exit_code == 0, trained.output
    exported = invoke("export", place / "out", "-o", place / "palette", "--no-profile", "--count", 3)
    assert exported.exit_code == 0, exported.output
    manifest = load(place / "palette").manifest
    assert manifest.labels == ["LABEL_0", "LABEL_1"]
    assert {quality.metric for entry in manifest.subnets for quality in entry.quality} == {"agreement"}
    assert manifest.provenance.unlabelled == "texts.txt"
    assert manifest.subnets[0].score("test") > 0.5
    (place / "texts.txt").rename(place / "moved.txt")
    export = ("export", place / "out", "-o", place / "again", "--no-profile", "--unlabelled", place / "moved.txt")
    lines = (place / "moved.txt").read_text().splitlines()
    (place / "moved.txt").write_text("\n".join(reversed(lines)))  # the teacher's answers would be other rows'
    one_line(invoke(*export), "is not what the supernet was begun with")
    assert not (place / "again").exists()
    (place / "moved.txt").write_text("\n".join(lines))
    assert invoke(*export, "--count", 2).exit_code == 0


@pytest.mark.slow
def test_a_sentence_encoder_goes_on_and_the_demos_commands_have_one_task(place: Path) -> None:
    model = model_folder(place / "bare", head="")
    command = ("train", model, "--data", place / "data", "--task", "sentence-embedding", "-o", place / "out")
    command += ("--recipe", place / "recipe.toml")
    assert invoke(*command).exit_code == 0
    assert "3 of 3 stages are done" in " ".join(invoke(*command).stderr.split())
    other = ("train", model, "--data", "demo", "--task", "sentence-embedding", "-o", place / "new")
    one_line(invoke(*other), "the demo's commands are for text-classification")


@pytest.mark.slow
def test_a_palette_of_pairs_says_so_and_is_not_asked_single_texts(place: Path) -> None:
    lines = [json.dumps({"a": text, "b": "w1 w2", "label": label}) for text, label in rows()]
    for split in ("train", "validation", "test"):
        (place / "data" / f"{split}.jsonl").write_text("\n".join(lines))
    columns = ("--text-column", "a", "--text-column", "b", "--data", place / "data")
    trained = invoke("train", place / "model", *columns, "--recipe", place / "recipe.toml", "-o", place / "out")
    assert trained.exit_code == 0, trained.output
    assert invoke("export", place / "out", "-o", place / "palette", "--no-profile", "--count", 2).exit_code == 0
    assert load(place / "palette").manifest.text_input.texts == 2
    one_line(invoke("run", place / "palette", "w1 w2"), "the palette is for text-classification of pairs")
    one_line(invoke("demo", *columns, "-o", place / "demo"), "the demo serves single texts")


@pytest.mark.parametrize(
    ("recipe", "options", "says"),
    [
        ("colour = 1", (), "unknown key 'colour'"),
        ("[depths]\nepoch = 1", (), "unknown key 'depths.epoch'"),
        ("rank = 'big'", (), "rank is 'big'"),
        ("rank = ", (), "is not TOML"),
        (None, (), "cannot be read"),
        ("", ("--set", "rank"), "sets nothing; expected key=value"),
        ("", ("--set", "head_shares=[1.0, 0.5]"), "head_shares: 0.5 of 3 is not a whole number"),
        (
            "",
            ("--set", "head_shares=[1.0]", "--set", "ffn_shares=[1.0, 0.33]"),
            "ffn_shares: 0.33 of 40 is not a whole number",
        ),
        ("", ("--set", "hidden_shares=[1.0, 1.5]"), "hidden_shares"),
        ("", ("--set", "head_shares=[1.0]", "--set", "rank=32"), "rank is 32, over the narrowest matrix"),
        ("", ("--set", "teacher_source=maxnet"), "set maxnet = true"),
    ],
)
def test_a_bad_recipe_is_one_clear_line(place: Path, recipe: str | None, options: tuple[str, ...], says: str) -> None:
    file = place / "bad.toml"
    if recipe is not None:
        file.write_text(recipe)
    result = invoke("train", place / "model", "--data", place / "data", "-o", place / "out", "--recipe", file, *options)
    one_line(result, says)
    assert not (place / "out").exists()


def test_a_label_that_train_has_not_and_a_model_that_cannot_teach(place: Path) -> None:
    validation = place / "data" / "validation.jsonl"
    known = validation.read_text()
    validation.write_text(known + '\n{"text": "w1", "label": "third"}')
    train = ("train", place / "model", "--data", place / "data", "-o", place / "out")
    one_line(invoke(*train, "--recipe", place / "recipe.toml"), "'third', which train has not")
    validation.write_text(known)
    bare = model_folder(place / "bare", head="")
    texts = ("--unlabelled", place / "texts.txt", "-o", place / "out")
    one_line(invoke("train", bare, *texts), "has no text-classification head (it holds no head)")
    one_line(
        invoke("train", bare, "--data", place / "data", "--fine-tuned", "-o", place / "out"), "has no text-classif"
    )
    assert not (place / "out").exists()
