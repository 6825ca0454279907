"""Commands that are killed can be given again, and two that write to one place exclude each other."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import interruptions
import pytest
import tiny_palette
from commands import invoke, one_line
from tiny_training import SHORT_RECIPE_FILE, model_folder, rows

from edgedistill import places
from edgedistill.distillation import loop
from edgedistill.palette import load, write_profile


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model, data, a recipe and a trained supernet."""
    folder = tmp_path_factory.mktemp("interrupted")
    model_folder(folder / "model")
    (folder / "data").mkdir()
    lines = [json.dumps({"text": text, "label": label}) for text, label in rows()]
    for split, part in (("train", lines), ("validation", lines[:20]), ("test", lines[20:])):
        (folder / "data" / f"{split}.jsonl").write_text("\n".join(part))
    (folder / "recipe.toml").write_text(SHORT_RECIPE_FILE)
    _done(*_train(folder, folder / "supernet"))
    return folder


def _train(place: Path, output: Path) -> tuple[object, ...]:
    return ("train", place / "model", "--data", place / "data", "--recipe", place / "recipe.toml", "-o", output)


def _done(*command: object) -> None:
    result = invoke(*command)
    assert result.exit_code == 0, result.output


def _content(path: Path) -> dict[str, bytes]:
    """Return every file's bytes by its name, without the times that training took."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): re.sub(rb'"wall_s": [\d.]+', b"", file.read_bytes()) for file in files}


def _again_after_kills(
    tmp_path: Path, command: Callable[[Path], tuple[object, ...]], name: str, *, states: int
) -> None:
    """Run the command with its output at ``name``, then again from some of the states that a kill may leave."""
    home = tmp_path / "home"
    home.mkdir()
    left = interruptions.states(home, tmp_path / "states", lambda: _done(*command(home / name)))
    undisturbed = _content(home / name)
    assert len(left) > states
    for state in left[:: len(left) // states]:
        was_whole = (state / name).exists() and "extract" in command(state / name)
        assert (invoke(*command(state / name)).exit_code != 0) == was_whole  # extract writes over nothing
        assert _content(state / name) == undisturbed
        assert [path.name for path in state.iterdir()] == [name]


@pytest.mark.slow
def test_training_goes_on_after_a_kill_at_any_moment(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_SAVED_EVERY_S", 0.0)
    _again_after_kills(tmp_path, lambda output: _train(place, output), "supernet", states=6)


def test_an_extract_is_given_again(place: Path, tmp_path: Path) -> None:
    name = _names(place)[-1]
    _again_after_kills(tmp_path, lambda path: ("extract", place / "supernet", name, "-o", path), "it.onnx", states=3)


def test_a_checkpoint_is_extracted_again(place: Path, tmp_path: Path) -> None:
    command = ("extract", place / "supernet", _names(place)[0], "--format", "hf", "-o")
    _again_after_kills(tmp_path, lambda path: (*command, path), "checkpoint", states=3)


@pytest.mark.slow
def test_a_picture_is_drawn_again(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    _again_after_kills(tmp_path, lambda path: ("search", place / "supernet", "--plot", path), "it.png", states=3)


def _names(place: Path) -> list[str]:
    """Return the names of the subnets on the front, the largest first."""
    document = json.loads(invoke("search", place / "supernet", "--json").stdout)
    return sorted((member["name"] for member in document["front"]), reverse=True)


def test_scores_of_a_killed_search_are_kept_or_measured_again(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "supernet", tmp_path / "home" / "supernet")
    (tmp_path / "home" / "supernet" / "quality.json").unlink(missing_ok=True)

    def search(home: Path) -> str:
        return invoke("search", home / "supernet", "--json").stdout

    told: list[str] = []
    left = interruptions.states(tmp_path / "home", tmp_path / "states", lambda: told.append(search(tmp_path / "home")))
    assert left
    assert all(search(state) == told[0] for state in left)


def test_a_profile_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    palette = load(tiny_palette.write(tmp_path / "home" / "palette"))
    old, new = (tiny_palette.profile(palette.manifest, p50_ms=p50_ms) for p50_ms in (4.0, 5.0))
    write_profile(palette, old)
    left = interruptions.states(tmp_path / "home", tmp_path / "states", lambda: write_profile(palette, new))
    assert {load(state / "palette").profiles["here"].subnets[0].latency[0].p50_ms for state in left} == {4.0}
    assert load(palette.folder).profiles["here"] == new


def test_commands_that_write_to_one_place_exclude_each_other_and_readers_go_on(place: Path, tmp_path: Path) -> None:
    supernet, palette = tmp_path / "supernet", tiny_palette.write(tmp_path / "palette")
    shutil.copytree(place / "supernet", supernet)
    before = _content(tmp_path)
    writers: dict[Path, list[tuple[object, ...]]] = {
        supernet: [_train(place, supernet), ("export", supernet, "-o", supernet)],
        palette: [
            ("export", supernet, "-o", palette, "--add", "l1"),
            _train(place, palette),
            ("profile", palette),
            ("demo", "-o", palette),
        ],
        tmp_path / "it": [
            ("extract", supernet, "l1", "-o", tmp_path / "it"),
            ("extract", supernet, "l1", "-o", tmp_path / "it", "--format", "hf"),
        ],
        tmp_path / "it.svg": [("search", supernet, "--plot", tmp_path / "it.svg")],
        tmp_path / "profiles": [("profile", palette, "--profiles", tmp_path / "profiles")],
    }
    says = f"another command (process {os.getpid()}) is writing to "
    for target, commands in writers.items():
        for command in commands:
            with places.lock(target):
                interruptions.in_a_thread(lambda c=command, t=target: one_line(invoke(*c), f"{says}{t};"))  # type: ignore[misc]
    with places.lock(supernet), places.lock(palette):
        interruptions.in_a_thread(lambda: _read(supernet, palette))
    shutil.rmtree(tmp_path / "supernet" / "quality.json", ignore_errors=True)
    after = {name: content for name, content in _content(tmp_path).items() if "quality.json" not in name}
    assert after == {name: content for name, content in before.items() if "quality.json" not in name}


def _read(supernet: Path, palette: Path) -> None:
    for command in (("search", supernet), ("inspect", palette), ("verify", palette), ("run", palette, "turn on")):
        _done(*command)


def test_an_output_that_cannot_be_written_is_said_before_the_long_part(place: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("dear")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("dear")
    supernet = place / "supernet"
    for command in (
        _train(place, tmp_path / "file"),
        _train(place, tmp_path / "folder"),
        ("export", supernet, "-o", tmp_path / "file"),
        ("export", supernet, "-o", tmp_path / "folder"),
        ("extract", supernet, "l1", "-o", tmp_path / "file"),
        ("extract", supernet, "l1", "-o", tmp_path / "folder"),
        ("search", supernet, "--plot", tmp_path / "none" / "it.svg"),
        ("search", supernet, "--plot", tmp_path / "folder"),
        *((*command, tmp_path / "file" / "it") for command in (_train(place, Path())[:-1], ("export", supernet, "-o"))),
        *((*command, tmp_path / ("n" * 256)) for command in (_train(place, Path())[:-1], ("export", supernet, "-o"))),
    ):
        one_line(invoke(*command), "")
    assert {path.read_text() for path in (tmp_path / "file", tmp_path / "folder" / "file")} == {"dear"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("size", [0, 500, 20_000])
def test_without_room_a_command_ends_in_a_line_and_leaves_nothing(place: Path, tmp_path: Path, size: int) -> None:
    outputs = [tmp_path / name for name in ("supernet", "checkpoint", "it.png")]
    extract = ("extract", place / "supernet", _names(place)[0], "--format", "hf", "-o", outputs[1])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for command in (_train(place, outputs[0]), extract, ("search", place / "supernet", "--plot", outputs[2])):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            result = invoke(*command)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        one_line(result, "File too large")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_empty_folder_is_as_good_as_none(place: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    _done(*_train(place, tmp_path / "out"))
    assert _content(tmp_path / "out") == {
        name: content for name, content in _content(place / "supernet").items() if name != "quality.json"
    }


def test_a_supernet_whose_replacement_was_killed_is_named_until_training_takes_it_up(
    place: Path, tmp_path: Path
) -> None:
    shutil.copytree(place / "supernet", places.sibling(tmp_path / "out", "old"))
    one_line(invoke("export", tmp_path / "out", "-o", tmp_path / "palette"), "run that 'edgedistill train' again")
    _done(*_train(place, tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert _content(tmp_path / "out") == _content(place / "supernet")
