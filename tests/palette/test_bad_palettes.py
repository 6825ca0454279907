"""Palettes that are damaged or hostile: refused in one line, never a crash, never a read outside the folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_palette

from edgedistill.errors import EdgeDistillError, LoadError, PaletteError
from edgedistill.palette import PROFILE_VERSION, SCHEMA_VERSION, Manifest, load, write_profile
from edgedistill.runtime import AdaptiveSession
from edgedistill.runtime.verification import verify


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_palette.write(tmp_path / "palette")


def _refused(folder: Path) -> bool:
    """Whether reading it all is refused, in one line; anything but our own error fails the test."""
    try:
        load(folder).check_hashes()
    except PaletteError as error:
        return "\n" not in str(error)
    return False


def _seal(folder: Path) -> None:
    """A manifest that agrees with whatever the files hold now, as an attacker would write it."""
    document = json.loads((folder / "manifest.json").read_text())
    for entry in document["files"]:
        content = (folder / entry["name"]).read_bytes()
        entry.update(size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    sealed = Manifest.model_validate_json(json.dumps(document)).sealed()
    (folder / "manifest.json").write_text(sealed.model_dump_json())


@pytest.mark.slow
def test_every_flipped_byte_of_the_manifest_is_refused_or_means_nothing(folder: Path) -> None:
    path = folder / "manifest.json"
    whole, before = path.read_bytes(), load(folder).manifest
    harmless = 0
    for place in range(len(whole)):
        bit = 5 * (place % 2)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << bit)]) + whole[place + 1 :])
        if not _refused(folder):
            assert load(folder).manifest == before  # a space became another space
            harmless += 1
    assert harmless < len(whole) / 4


def test_every_flipped_byte_of_a_graph_is_refused(folder: Path) -> None:
    path = folder / "small.onnx"
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        os.utime(path, ns=(place + 1, place + 1))  # the file system's clock may be too coarse
        assert _refused(folder), place


@pytest.mark.parametrize("name", ["manifest.json", "large.onnx", "weights.bin", "tokenizer.json", "probes.json"])
def test_a_file_cut_anywhere_is_refused(folder: Path, name: str) -> None:
    path = folder / name
    whole = path.read_bytes()
    for place in np.linspace(0, len(whole) - 2, 50).astype(int):
        path.write_bytes(whole[:place])
        assert _refused(folder), place


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["files"][0].update(size_bytes=2**62),
        lambda d: d["files"][0].update(size_bytes=2**80),
        lambda d: d["input"]["tokenizer"].update(max_tokens=2**62),
        lambda d: d["graph_inputs"][0].update(dtype="float32"),
        lambda d: d["graph_outputs"][0].update(dtype="string"),
        lambda d: d["subnets"][0].update(quantization={"scheme": "blocks", "bits": 4, "block_size": 32}),
        lambda d: d["subnets"][0].update(weights="elsewhere.bin"),
        lambda d: d.update(schema_version=SCHEMA_VERSION + 1),
        lambda d: d.update(schema_version=str(SCHEMA_VERSION)),
        lambda d: d.update(labels=["one"]),
        lambda d: d.update(probes="../probes.json"),
    ],
)
def test_what_a_manifest_may_not_say(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    path = folder / "manifest.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    assert _refused(folder)


def test_a_manifest_nested_without_end_is_refused(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"labels":' + "[" * 100_000 + "]" * 100_000 + "}")
    assert _refused(folder)


@pytest.mark.parametrize("outside", ["../secret.bin", "{folder}/../secret.bin", "link.bin"])
def test_a_graph_that_reads_outside_its_folder_is_refused(folder: Path, outside: str) -> None:
    """As from somebody who seals the manifest himself: the graph's own words must not lead out either."""
    secret = folder.parent / "secret.bin"
    shutil.copy(folder / "weights.bin", secret)
    (folder / "link.bin").symlink_to(secret)
    for name in tiny_palette.WIDTHS:
        path = folder / f"{name}.onnx"
        graph = onnx.load(path, load_external_data=False)
        for tensor in graph.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = outside.format(folder=folder)
        path.write_bytes(graph.SerializeToString())
    _seal(folder)
    with pytest.raises(EdgeDistillError):
        _ask(folder)


@pytest.mark.parametrize("key", ["offset", "length"])
@pytest.mark.parametrize("value", [2**40, 2**62, 2**63 - 1])
def test_a_graph_that_reads_past_its_weights_is_refused(folder: Path, key: str, value: int) -> None:
    for name in tiny_palette.WIDTHS:
        path = folder / f"{name}.onnx"
        graph = onnx.load(path, load_external_data=False)
        for tensor in graph.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == key:
                    entry.value = str(value)
        path.write_bytes(graph.SerializeToString())
    _seal(folder)
    with pytest.raises(EdgeDistillError):
        _ask(folder)


def _ask(folder: Path) -> None:
    """What an application does, and what ``verify`` does."""
    faults = [one.fault for one in verify(load(folder))]
    assert all(faults)
    with AdaptiveSession(folder) as session:
        rows = np.ones((1, 3), np.int64)
        session.run(None, {"input_ids": rows, "attention_mask": rows})


def test_profiles_that_are_missing_or_of_another_version(folder: Path) -> None:
    palette = load(folder)
    path = write_profile(palette, tiny_palette.profile(palette.manifest))
    path.write_text(path.read_text().replace(f'"schema_version": {PROFILE_VERSION}', '"schema_version": 99'))
    assert not _refused(folder)
    assert load(folder).profiles == {}
    shutil.rmtree(path.parent)
    assert not _refused(folder)
    with AdaptiveSession(folder) as session:
        rows = np.ones((1, 3), np.int64)
        session.run(None, {"input_ids": rows, "attention_mask": rows})


def test_loading_a_graph_that_is_none_is_our_own_error(folder: Path) -> None:
    for name in tiny_palette.WIDTHS:
        (folder / f"{name}.onnx").write_bytes(os.urandom(200))
    _seal(folder)
    with pytest.raises(LoadError):
        _ask(folder)
