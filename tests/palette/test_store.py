"""The palette's contract: strict, digested, read whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_palette

from edgedistill.errors import PaletteError
from edgedistill.palette import Manifest, load, open_palette, profile_files, write_profile
from edgedistill.runtime.profiles import choose_profile

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


@pytest.fixture
def bounded_memory() -> Iterator[None]:
    """This process may take half a gigabyte more than it has."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + 500 * 10**6, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def _edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest and seal it anew, so that only its content is at fault."""
    path = folder / "manifest.json"
    document = json.loads(path.read_text())
    change(document)
    with contextlib.suppress(ValueError):  # that it is refused is what the test is about
        document = Manifest.model_validate_json(json.dumps(document)).sealed().model_dump(mode="json")
    path.write_text(json.dumps(document))


def test_a_whole_palette_is_read_with_its_profiles(folder: Path) -> None:
    palette = load(folder)
    profile = tiny_palette.profile(palette.manifest, name="board-1")
    write_profile(palette, profile)
    again = load(folder)
    assert again.profiles == {"board-1": profile}
    assert again.manifest == palette.manifest
    again.check_hashes()


def test_a_profile_breaks_no_digest_and_may_lie_elsewhere(folder: Path, tmp_path: Path) -> None:
    palette = load(folder)
    write_profile(palette, tiny_palette.profile(palette.manifest), folder=tmp_path / "mine")
    assert load(folder).profiles == {}
    assert list(load(folder, profiles=tmp_path / "mine").profiles) == ["here"]


def test_a_profile_of_another_palette_is_not_used(folder: Path) -> None:
    palette = load(folder)
    stale = tiny_palette.profile(palette.manifest).model_copy(update={"manifest_digest": "0" * 64})
    write_profile(palette, stale)
    assert load(folder).profiles == {}


@pytest.mark.parametrize("name", ["../outside.onnx", "/etc/passwd", "a/b.onnx", "..", ""])
def test_names_stay_inside_the_folder(folder: Path, name: str) -> None:
    _edit(folder, lambda d: d["subnets"][0].update(graph=name))
    with pytest.raises(PaletteError, match="plain file name"):
        load(folder)


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
        (lambda d: d["labels"].append("another"), "labels has 4 names, and the graphs give 3 outputs"),
        (lambda d: d["graph_outputs"].clear(), "no last dimension"),
        (lambda d: d["graph_outputs"][0].update(shape=["batch"]), "no last dimension"),
    ],
    ids=[
        "unknown key",
        "version",
        "wrong type",
        "twice",
        "unlisted file",
        "no subnet",
        "negative size",
        "a label too many",
        "no output",
        "no width",
    ],
)
def test_a_bad_manifest_is_refused_in_one_line(
    folder: Path, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    _edit(folder, change)
    with pytest.raises(PaletteError, match=says) as caught:
        load(folder)
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
        load(folder)


def test_an_edited_manifest_is_noticed(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"lamp"', '"lump"'))
    with pytest.raises(PaletteError, match="digest"):
        load(folder)


@pytest.mark.parametrize("name", ["manifest.json", "weights.bin", "large.onnx", "tokenizer.json", "probes.json"])
def test_a_link_counts_by_its_content(folder: Path, tmp_path: Path, name: str) -> None:
    before = load(folder).manifest
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    linked = load(folder)
    linked.check_hashes()
    assert linked.manifest == before
    (tmp_path / "elsewhere").write_bytes(b"\0" * (tmp_path / "elsewhere").stat().st_size)
    with pytest.raises(PaletteError):
        load(folder).check_hashes()
    (tmp_path / "elsewhere").unlink()
    with pytest.raises(PaletteError, match="is a link to a file that is missing"):
        load(folder)


def test_a_palette_of_links_to_blobs_named_by_hash_is_read(folder: Path, tmp_path: Path) -> None:
    """As the hub's cache has it."""
    palette, snapshot = load(folder), tmp_path / "snapshots" / "revision"
    snapshot.mkdir(parents=True)
    (tmp_path / "blobs").mkdir()
    for path in folder.iterdir():
        blob = tmp_path / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
        path.rename(blob)
        (snapshot / path.name).symlink_to(os.path.relpath(blob, snapshot))
    opened = load(snapshot)
    opened.check_hashes()
    assert opened.manifest == palette.manifest
    assert opened.probes().inputs.keys() == {"input_ids", "attention_mask"}


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


def _many(path: Path) -> None:
    path.write_text('{"labels":[' + "0," * 30_000_000 + "0]}")


_ODD = [_fifo, _zero, _sparse, _many, Path.mkdir, lambda path: path.write_bytes(b"\0\5\x16\7Mac OS X")]


@pytest.mark.parametrize("make", _ODD)
@pytest.mark.parametrize("name", ["manifest.json", "tokenizer.json", "probes.json", "large.onnx"])
def test_what_is_not_a_sound_file_is_refused_at_once(
    folder: Path, name: str, make: Callable[[Path], object], bounded_memory: None
) -> None:
    (folder / name).unlink()
    make(folder / name)
    with pytest.raises(PaletteError) as caught:
        load(folder).check_hashes()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [*_ODD, lambda path: path.write_text('{"schema_version": 5}')])
def test_a_profile_that_is_not_sound_is_left_out_with_a_warning(
    folder: Path, make: Callable[[Path], object], caplog: pytest.LogCaptureFixture, bounded_memory: None
) -> None:
    palette = load(folder)
    sound = tiny_palette.profile(palette.manifest, name="sound")
    write_profile(palette, sound)
    make(folder / "profiles" / "odd.json")
    for _ in range(2):
        opened = load(folder)
        assert opened.profiles == {"sound": sound}
        assert opened.unusable_profiles.keys() == {"odd"}
    (warning,) = caplog.messages  # once, however often it is read
    assert "odd.json" in warning
    with pytest.raises(PaletteError, match=r"odd\.json"):
        choose_profile(opened, "odd")


@pytest.mark.parametrize("make", [_fifo, _zero, Path.mkdir, lambda path: path.symlink_to("nothing")])
def test_what_lies_in_the_place_of_a_profile_is_to_be_deleted(folder: Path, make: Callable[[Path], object]) -> None:
    (folder / "profiles").mkdir()
    make(folder / "profiles" / "odd.json")
    assert (
        load(folder)
        .unusable_profiles["odd"]
        .endswith("; expected a file that 'edgedistill profile' wrote; delete it, or profile that device again")
    )


def test_a_profile_that_is_missing_is_not_a_fault_of_the_palette(tmp_path: Path) -> None:
    with pytest.raises(PaletteError, match=r"mine\.json is missing; expected a file that 'edgedistill profile' wrote$"):
        profile_files.read_profile(tmp_path / "mine.json")


def test_hidden_files_are_not_profiles(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "profiles").mkdir()
    (folder / "profiles" / "._here.json").write_bytes(b"\0\5\x16\7Mac OS X")
    assert load(folder).unusable_profiles == {}
    assert caplog.messages == []


def test_profiles_without_end_do_not_fill_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    palette = load(folder)
    for name in ("a", "b", "c"):
        path = write_profile(palette, tiny_palette.profile(palette.manifest, name=name))
    size = path.stat().st_size
    monkeypatch.setattr(profile_files, "_MAX_PROFILES_BYTES", 2 * size)
    opened = load(folder)
    assert (opened.profiles.keys(), opened.unusable_profiles.keys()) == ({"a", "b"}, {"c"})


def test_profiles_that_are_not_a_folder_are_left_out(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "profiles").write_text("none")
    assert load(folder).profiles == {}
    assert "profiles" in caplog.text


def test_a_relative_path_is_resolved_once_and_a_link_is_not(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("current").symlink_to(folder)
    palette = load("current", profiles="mine")
    monkeypatch.chdir("/")
    assert (palette.folder, palette.profiles_folder) == (tmp_path / "current", tmp_path / "mine")
    palette.check_hashes()
    assert write_profile(
        palette, tiny_palette.profile(palette.manifest), folder=palette.profiles_folder
    ).is_relative_to(tmp_path)


def test_a_working_directory_that_is_gone_is_our_own_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(PaletteError, match="absolute path"):
        load("palette")


def test_a_pinned_digest_opens_that_palette_alone(folder: Path) -> None:
    palette = load(folder)
    digest = palette.manifest.digest
    assert load(folder, digest=digest).pinned
    assert open_palette(palette, digest) is palette
    assert palette.pinned
    for wrong, says in (("0" * 64, "is pinned"), (digest.upper(), "64 hexadecimal digits"), ("", "64 hexadecimal")):
        with pytest.raises(PaletteError, match=says):
            load(folder, digest=wrong)
        with pytest.raises(PaletteError, match=says):
            open_palette(palette, wrong)


def test_an_altered_byte_is_noticed_also_the_second_time(folder: Path) -> None:
    palette = load(folder)
    palette.check_hashes()
    weights = folder / "weights.bin"
    content = bytearray(weights.read_bytes())
    content[100] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(1, 1))
    with pytest.raises(PaletteError, match=r"weights\.bin was altered"):
        palette.check_hashes()
