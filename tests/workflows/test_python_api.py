"""The workstation's functions, from training to profiling, called as a notebook calls them."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from commands import invoke
from tiny_training import model_folder, rows

import edgedistill
from edgedistill.cli.export import export as export_command
from edgedistill.cli.extract import extract as extract_command
from edgedistill.cli.profile import profile as profile_command
from edgedistill.cli.search import search as search_command
from edgedistill.cli.train import train as train_command
from edgedistill.errors import CheckpointError, InputError, PaletteError, RecipeError
from edgedistill.supernet import checkpoint

SETTINGS = {
    "rank": 2,
    "batch_size": 8,
    "head_shares": (1.0, 1 / 3),
    "ffn_shares": (1.0, 0.5),
    **{stage: {"epochs": 1, "min_steps": 1} for stage in ("teacher", "widths", "depths")},
}


@dataclass
class Workplace:
    """A folder with a model and data, and what was reported while a supernet was trained and exported."""

    folder: Path
    trained: edgedistill.TrainResult
    exported: edgedistill.ExportResult
    events: list[edgedistill.ProgressEvent] = field(default_factory=list)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    folder = tmp_path_factory.mktemp("api")
    model_folder(folder / "model")
    lines = [json.dumps({"text": text, "label": label}) for text, label in rows()]
    (folder / "train.jsonl").write_text("\n".join(lines))
    events: list[edgedistill.ProgressEvent] = []
    trained = edgedistill.train(
        folder / "model",
        data=folder / "train.jsonl",
        output=folder / "supernet",
        recipe=SETTINGS,
        progress=events.append,
    )
    exported = edgedistill.export(
        trained.supernet, output=folder / "palette", count=2, profile=False, progress=events.append
    )
    return Workplace(folder, trained, exported, events)


def test_results_say_what_the_commands_documents_say(place: Workplace) -> None:
    command = ("train", place.folder / "model", "--data", place.folder / "train.jsonl", "-o", place.folder / "supernet")
    options = [
        part
        for key, value in SETTINGS.items()
        for part in (
            ("--set", f"{key}={list(value)}")
            if isinstance(value, tuple)
            else ("--set", f"{key}.epochs=1", "--set", f"{key}.min_steps=1")
            if isinstance(value, dict)
            else ("--set", f"{key}={value}")
        )
    ]
    document = json.loads(invoke(*command, *options, "--json").stdout)  # the same settings: nothing is trained again
    assert document["subnets"] == place.trained.subnets > 2
    assert document["stages"] == [stage.model_dump() for stage in place.trained.stages]
    assert document["trained_parameters"][0]["total"] == place.trained.trained_parameters[0].total
    searched = json.loads(invoke("search", place.folder / "supernet", "--count", 3, "--json").stdout)
    found = edgedistill.search(place.folder / "supernet", count=3)
    assert [record["name"] for record in searched["family"]] == [member.subnet.name for member in found.family]
    assert (searched["space"], searched["metric"], searched["cost_metric"]) == (
        found.space,
        found.metric,
        found.cost_metric,
    )


def test_every_stage_and_graph_is_reported(place: Workplace) -> None:
    stages = [event for event in place.events if event.text.startswith("stage ") and event.kind == "finished"]
    assert [event.text[:7] for event in stages] == ["stage 0", "stage 1", "stage 2"]
    assert all(event.done == event.total and event.detail == f"{event.total} steps" for event in stages)
    steps = [event for event in place.events if event.kind == "advanced" and event.losses]
    assert len(steps) == sum(stage.steps for stage in place.trained.stages)
    assert steps[-1].scores["maxnet"].metric == "accuracy"
    started = [event.text for event in place.events if event.kind == "started"]
    ended = [event.text for event in place.events if event.kind == "finished"]
    assert started == ended
    assert started[-1] == "exporting 4 graphs over one weights file a precision"


def test_nothing_is_printed_without_a_callback(place: Workplace, capfd: pytest.CaptureFixture[str]) -> None:
    edgedistill.search(place.folder / "supernet", count=2, plot=place.folder / "front.svg")
    edgedistill.export(place.folder / "supernet", output=place.folder / "quiet", count=2, profile=False)
    assert capfd.readouterr() == ("", "")
    assert (place.folder / "front.svg").stat().st_size > 0


@pytest.mark.slow
def test_a_palette_is_opened_profiled_and_extracted_from(place: Workplace, capfd: pytest.CaptureFixture[str]) -> None:
    palette = edgedistill.open_palette(place.folder / "palette", digest=place.exported.palette.manifest.digest)
    assert palette.manifest == place.exported.palette.manifest
    assert (place.exported.profile, place.exported.estimates) == (None, [])
    profile = edgedistill.profile(palette, profiles=place.folder / "profiles", lengths=[4], threads=[1], quick=True)
    assert {(point.tokens, point.threads) for entry in profile.subnets for point in entry.latency} == {(4, 1)}
    assert capfd.readouterr() == ("", "")
    assert edgedistill.open_palette(palette.folder, profiles=place.folder / "profiles").profiles
    name = palette.manifest.subnets[0].config.name
    file = edgedistill.extract(place.folder / "supernet", name, output=place.folder / "small.onnx")
    assert file.stat().st_size > 1000
    with pytest.raises(PaletteError, match="digest"):
        edgedistill.open_palette(place.folder / "palette", digest="0" * 64)


def test_terminal_progress_shows_what_the_command_shows(place: Workplace, capfd: pytest.CaptureFixture[str]) -> None:
    edgedistill.search(place.folder / "supernet", count=2, progress=edgedistill.TerminalProgress())
    shown, n = capfd.readouterr().err, place.trained.subnets
    assert re.fullmatch(rf"[✓+] scoring {n} of {n} subnets on validation data \d+ s\n", shown), shown


def test_a_recipe_is_whole_or_a_file_or_some_settings(place: Workplace, tmp_path: Path) -> None:
    """Each of them is another than what the supernet was begun with, or unfit; nothing is trained for it."""
    whole = edgedistill.Recipe.model_validate(checkpoint.load(place.folder / "supernet").info.recipe)
    begun = {"data": place.folder / "train.jsonl", "output": place.folder / "supernet"}
    (tmp_path / "recipe.toml").write_text("rank = 3")
    for other in (whole.model_copy(update={"rank": 3}), tmp_path / "recipe.toml", SETTINGS | {"rank": 3}, None):
        with pytest.raises(CheckpointError, match="with other settings"):
            edgedistill.train(place.folder / "model", recipe=other, **begun)
    with pytest.raises(RecipeError, match="unknown key 'colour'"):
        edgedistill.train(place.folder / "model", recipe={"colour": 1}, **begun)
    edgedistill.train(place.folder / "model", recipe=whole, **begun)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda p: edgedistill.train(p / "model", output=p / "new"), "no data"),
        (lambda p: edgedistill.train(p / "model", output=p / "new", task="poetry"), "task: got 'poetry'"),
        (lambda p: edgedistill.search(p / "supernet", count=1), "count: got 1, expected 2 or more"),
        (lambda p: edgedistill.search(p / "supernet", tokens=0), "tokens: got 0, expected 1 or more"),
        (lambda p: edgedistill.search(p / "supernet", evaluations=3), "evaluations: got 3, expected 4 or more"),
        (lambda p: edgedistill.search(p / "supernet", cost_metric="beauty"), "cost_metric: got 'beauty'"),
        (lambda p: edgedistill.export(p / "supernet", output=p / "new", vocabulary=-1), "vocabulary: got -1"),
        (lambda p: edgedistill.export(p / "supernet", output=p / "new", precisions=["int3"]), "got 'int3'"),
        (lambda p: edgedistill.extract(p / "supernet", "l9", output=p / "new"), "no subnet 'l9'"),
        (lambda p: edgedistill.extract(p / "supernet", "l9", output=p / "new", format="pdf"), "format: got 'pdf'"),
        (lambda p: edgedistill.profile(p / "palette", lengths=[0]), "lengths: got 0"),
    ],
)
def test_what_cannot_be_used_is_refused(place: Workplace, call: Callable[[Path], Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        call(place.folder)
    assert not (place.folder / "new").exists()


SAME_AS = {
    train_command: (edgedistill.train, {"text_column": "text_columns"}),
    search_command: (edgedistill.search, {}),
    export_command: (
        edgedistill.export,
        {"precision": "precisions", "device": "devices", "measure": "profile"},
    ),
    extract_command: (edgedistill.extract, {"kind": "format"}),
    profile_command: (edgedistill.profile, {}),
}
IN_RECIPE = {"recipe_file", "changes", "seed", "fine_tuned", "random_weights"}


@pytest.mark.parametrize("command", SAME_AS)
def test_a_function_has_the_options_of_its_command(command: Callable[..., Any]) -> None:
    function, other_names = SAME_AS[command]
    options = set(inspect.signature(command).parameters) - {"as_json", "compare"}  # how to show it, and two profiles
    if command is train_command:
        options = options - IN_RECIPE | {"recipe"}
    named = {other_names.get(name, name) for name in options}
    assert named | {"progress"} == set(inspect.signature(function).parameters)
