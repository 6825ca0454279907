"""The palette's contract: strict, digested, read whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_palette

from edgedistill import manifest
from edgedistill.errors import PaletteError

_GENERATION = {
    "context_tokens": 64,
    "eos_token_ids": [2],
    "bos_token_id": None,
    "chat_template": None,
    "head_size": 8,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_palette.write(tmp_path / "palette")


def _edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest and seal it anew, so that only its content is at fault."""
    path = folder / "manifest.json"
    document = json.loads(path.read_text())
    change(document)
    with contextlib.suppress(ValueError):  # that it is refused is what the test is about
        document = manifest.Manifest.model_validate_json(json.dumps(document)).sealed().model_dump(mode="json")
    path.write_text(json.dumps(document))


def test_a_whole_palette_is_read_with_its_profiles(folder: Path) -> None:
    palette = manifest.load(folder)
    profile = tiny_palette.profile(palette.manifest, name="board-1")
    manifest.write_profile(palette, profile)
    again = manifest.load(folder)
    assert again.profiles == {"board-1": profile}
    assert again.manifest == palette.manifest
    again.check_hashes()


def test_a_profile_breaks_no_digest_and_may_lie_elsewhere(folder: Path, tmp_path: Path) -> None:
    palette = manifest.load(folder)
    manifest.write_profile(palette, tiny_palette.profile(palette.manifest), folder=tmp_path / "mine")
    assert manifest.load(folder).profiles == {}
    assert list(manifest.load(folder, profiles=tmp_path / "mine").profiles) == ["here"]


def test_a_profile_of_another_palette_is_not_used(folder: Path) -> None:
    palette = manifest.load(folder)
    stale = tiny_palette.profile(palette.manifest).model_copy(update={"manifest_digest": "0" * 64})
    manifest.write_profile(palette, stale)
    assert manifest.load(folder).profiles == {}


@pytest.mark.parametrize("name", ["../outside.onnx", "/etc/passwd", "a/b.onnx", "..", ""])
def test_names_stay_inside_the_folder(folder: Path, name: str) -> None:
    _edit(folder, lambda d: d["subnets"][0].update(graph=name))
    with pytest.raises(PaletteError, match="plain file name"):
        manifest.load(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.update(colour="blue"), "colour"),
        (lambda d: d.update(schema_version=1), "schema_version"),
        (lambda d: d["subnets"][0].update(hidden="384"), "hidden"),
        (lambda d: d["subnets"].append(d["subnets"][0]), "same name"),
        (lambda d: d["files"].pop(), "files differ"),
        (lambda d: d["subnets"].clear(), "subnets"),
        (lambda d: d["files"][0].update(size_bytes=-1), "size_bytes"),
    ],
    ids=["unknown key", "version", "wrong type", "twice", "unlisted file", "no subnet", "negative size"],
)
def test_a_bad_manifest_is_refused_in_one_line(
    folder: Path, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    _edit(folder, change)
    with pytest.raises(PaletteError, match=says) as caught:
        manifest.load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.update(task="text-generation"), "text-generation needs it"),
        (lambda d: d.update(generation=_GENERATION), "generation belongs to text-generation"),
        (lambda d: d.update(task="text-generation", generation=_GENERATION), "cache_bytes_a_token belongs to all"),
        (lambda d: d["subnets"][0].update(cache_bytes_a_token=64), "and to no others"),
    ],
)
def test_what_is_of_generation_is_there_together_or_not_at_all(
    folder: Path, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    _edit(folder, change)
    with pytest.raises(PaletteError, match=says):
        manifest.load(folder)


def test_an_edited_manifest_is_noticed(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"lamp"', '"lump"'))
    with pytest.raises(PaletteError, match="digest"):
        manifest.load(folder)


def test_a_link_is_no_file(folder: Path, tmp_path: Path) -> None:
    weights = folder / "weights.bin"
    weights.rename(tmp_path / "elsewhere.bin")
    weights.symlink_to(tmp_path / "elsewhere.bin")
    with pytest.raises(PaletteError, match="link"):
        manifest.load(folder)


def test_an_altered_byte_is_noticed_also_the_second_time(folder: Path) -> None:
    palette = manifest.load(folder)
    palette.check_hashes()
    weights = folder / "weights.bin"
    content = bytearray(weights.read_bytes())
    content[100] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(1, 1))
    with pytest.raises(PaletteError, match=r"weights\.bin was altered"):
        palette.check_hashes()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "document.json"
    manifest.write_atomically(path, {"a": 1})
    with pytest.raises(TypeError):
        manifest.write_atomically(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["document.json"]
