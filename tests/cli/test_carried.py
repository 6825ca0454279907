"""What a palette, an extracted subnet and a supernet say of the workstation: names and hashes, no folders."""

from __future__ import annotations

import json
import platform
import socket
import sys
from pathlib import Path

import pytest
from commands import invoke, one_line
from tiny_training import SHORT_RECIPE_FILE, model_folder, rows

import edgedistill
from edgedistill.palette import load
from edgedistill.supernet import checkpoint

RECIPE = SHORT_RECIPE_FILE + "max_tokens = 5\n"
HOST = "wilhelminas-laptop"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workstation's folder, with a supernet that was trained there on relative paths."""
    home = tmp_path_factory.mktemp("home") / "wilhelmina"
    (home / "secret-project" / "my-texts").mkdir(parents=True)
    model_folder(home / "secret-project" / "model")
    lines = [json.dumps({"text": text, "label": label}) for text, label in rows()]
    (home / "secret-project" / "my-texts" / "Train.JSONL").write_text("\n".join(lines))
    (home / "recipe.toml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home / "secret-project")
        trained = invoke("train", "model", "--data", "my-texts", "--recipe", "../recipe.toml", "-o", home / "supernet")
    assert trained.exit_code == 0, trained.output
    said = " ".join(trained.stderr.split())
    assert "my-texts: 4 rows of train became validation and 4 rows test; " in said
    assert "texts of train have more than 5 tokens and are cut there" in said
    return home


def _hidden(home: Path) -> list[str]:
    """List what nobody who is handed a palette needs to know."""
    return [
        str(home.parent),
        "wilhelmina",
        "secret-project",
        f"{Path.home()}/",
        *([socket.gethostname()] if len(socket.gethostname()) > 5 else []),  # a short one occurs by chance
        str(Path(edgedistill.__file__).parent),
        sys.prefix,
    ]


def _leaks(folder: Path, home: Path) -> list[tuple[str, str]]:
    files = [path for path in (folder, *folder.rglob("*")) if path.is_file()]
    assert files
    return [
        (path.name, word)
        for path in files
        for word in _hidden(home)
        if word.encode() in path.read_bytes() or word in path.name
    ]


@pytest.mark.slow
def test_a_palette_and_what_is_extracted_name_no_folder_user_or_host(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From another directory than the one that the relative path of the data was given in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USER", "wilhelmina")
    monkeypatch.setattr(platform, "node", lambda: HOST)
    assert checkpoint.load(home / "supernet").info.data.data == str(home / "secret-project" / "my-texts")
    exported = invoke("export", home / "supernet", "-o", tmp_path / "palette", "--count", 2)
    assert exported.exit_code == 0, exported.output
    provenance = load(tmp_path / "palette").manifest.provenance
    assert (provenance.data, provenance.base_model) == ("my-texts", "model")
    assert _leaks(tmp_path / "palette", home) == []
    names = [entry.name for entry in load(tmp_path / "palette").manifest.subnets]
    for kind in ("onnx", "hf"):
        done = invoke("extract", home / "supernet", names[0], "-o", tmp_path / kind, "--format", kind)
        assert done.exit_code == 0, done.output
        assert _leaks(tmp_path / kind, home) == [], kind


def test_data_that_moved_are_found_by_the_option_that_the_error_names(home: Path, tmp_path: Path) -> None:
    here, there = home / "secret-project" / "my-texts", tmp_path / "moved"
    here.rename(there)
    try:
        one_line(
            invoke("export", home / "supernet", "-o", tmp_path / "palette"),
            f"the supernet was trained on {here}, which is not there; say where it is now by --data",
        )
        searched = invoke("search", home / "supernet", "--data", there, "--count", 2, "--json")
        assert searched.exit_code == 0, searched.output
    finally:
        there.rename(here)


def test_the_demos_own_commands_are_no_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgedistill.workflows.task_data import LabelledSource, read_data

    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path)
    recorded = read_data(LabelledSource(task="text-classification", data="demo", is_recorded=True))
    assert (recorded.source, len(recorded.label_names)) == ("demo", 20)
