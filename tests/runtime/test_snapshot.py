"""Private copies: what happens to a palette's folder does not reach those who serve from it."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny_palette
from swap_stress import feeds_for
from waiting import wait_until

from edgedistill.errors import PaletteError
from edgedistill.palette import load
from edgedistill.runtime import AdaptiveSession, snapshot
from edgedistill.runtime.snapshot import private_copy
from edgedistill.runtime.verification import verify


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_palette.write(tmp_path / "palette")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, which is the only one."""
    for name in ("CACHE_DIRECTORY", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/proc/none")
    monkeypatch.setenv("EDGEDISTILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "palettes"


def _copies(cache: Path) -> set[str]:
    return {path.name for path in cache.glob("*/*") if path.is_dir()}


def test_files_are_read_from_the_copy_and_written_to_the_palette(folder: Path, cache: Path) -> None:
    palette = private_copy(load(folder))
    assert palette.folder == folder
    assert palette.files.is_relative_to(cache)
    assert (palette.files / "weights.bin").read_bytes() == (folder / "weights.bin").read_bytes()
    assert palette.profiles_folder == folder / "profiles"
    assert {path.name for path in palette.files.iterdir()} == {
        *(entry.name for entry in palette.manifest.files),
        "originals.json",
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda path: os.truncate(path, 0),
        lambda path: path.write_bytes(b"\xff" * path.stat().st_size),
        lambda path: path.unlink(),
    ],
    ids=["truncated", "overwritten", "removed"],
)
def test_a_folder_that_changes_reaches_no_session(folder: Path, cache: Path, change: Callable[[Path], object]) -> None:
    feed = feeds_for(load(folder), 1)[0]
    with AdaptiveSession(folder, threads=1, interval_s=0.01) as session:
        before = session.run(None, feed)[0]
        for path in [*folder.glob("*.onnx"), folder / "weights.bin"]:
            change(path)
        np.testing.assert_array_equal(session.run(None, feed)[0], before)
        session.pin("small")
        wait_until(lambda: session.active == "small")
        assert np.isfinite(session.run(None, feed)[0]).all()


def test_an_altered_palette_is_refused_although_its_copy_is_sound(folder: Path, cache: Path) -> None:
    private_copy(load(folder))
    for name in ("weights.bin", "tokenizer.json"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-1] + b"?")
        with pytest.raises(PaletteError, match="was altered"):
            private_copy(load(folder))
        (folder / name).write_bytes(content)
    private_copy(load(folder))


def test_a_palette_of_links_is_served_and_checked(folder: Path, tmp_path: Path, cache: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    for path in folder.iterdir():
        (linked / path.name).symlink_to(path)
    assert [checked.fault for checked in verify(load(linked))] == [None] * 3
    with AdaptiveSession(linked, threads=1) as session:
        session.run(None, feeds_for(session.palette, 1)[0])


def test_a_damaged_copy_is_made_again(folder: Path, cache: Path) -> None:
    first = private_copy(load(folder))
    (first.files / "weights.bin").write_bytes(b"damaged")
    again = private_copy(load(folder))
    assert again.files == first.files
    again.check_hashes()
    assert _copies(cache) == {again.manifest.digest}


def test_copies_go_when_nobody_uses_them(folder: Path, tmp_path: Path, cache: Path) -> None:
    old = private_copy(load(folder))
    tiny_palette.reseal(folder, labels=["a", "b", "c"])
    new = private_copy(load(folder))
    assert _copies(cache) == {old.manifest.digest, new.manifest.digest}
    old.check_hashes()
    gone = old.manifest.digest
    del old
    other = private_copy(load(shutil.copytree(folder, tmp_path / "other")))
    assert gone in _copies(cache)  # it is of another folder, which is there
    private_copy(load(folder))
    assert gone not in _copies(cache)
    del new
    shutil.rmtree(folder)
    private_copy(load(other.folder))
    assert len(list(cache.iterdir())) == 1


def test_an_emptied_cache_is_filled_again(folder: Path, cache: Path) -> None:
    with AdaptiveSession(folder, threads=1, interval_s=0.01) as session:
        # Moved away first: the session may be filling the cache while it is deleted.
        shutil.rmtree(cache.rename(cache.with_name("emptied")))
        session.pin("small")
        wait_until(lambda: session.active == "small")
        private_copy(load(folder))  # which sweeps
        assert session.palette.graph_path("middle").is_file()


def test_a_copy_that_was_interrupted_is_never_used(folder: Path, cache: Path) -> None:
    code = """
import os, sys
from edgedistill.palette import load
from edgedistill.runtime import snapshot
copied = snapshot._copy_file
def half(source, target, size):
    copied(source, target, size // 2)
    os.kill(os.getpid(), 9)
snapshot._copy_file = half
snapshot.private_copy(load(sys.argv[1]))
"""
    assert subprocess.run([sys.executable, "-c", code, str(folder)], check=False).returncode == -9
    assert len(_copies(cache)) == 1
    palette = private_copy(load(folder))
    palette.check_hashes()
    del palette
    tiny_palette.reseal(folder, labels=["a", "b", "c"])
    kept = private_copy(load(folder))
    assert _copies(cache) == {kept.manifest.digest}


def _open(folder: Path, barrier: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    private_copy(load(folder)).check_hashes()


def test_processes_that_open_at_once_do_not_disturb_each_other(folder: Path, cache: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    processes = [context.Process(target=_open, args=(folder, barrier)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 3
    assert _copies(cache) == {load(folder).manifest.digest}


def test_without_room_it_serves_in_place_and_says_what_that_risks(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(snapshot, "_SPARE_BYTES", 2**62)
    palette = load(folder)
    assert private_copy(palette) is palette
    (warning,) = caplog.messages
    assert str(folder) in warning
    assert "EDGEDISTILL_CACHE" in warning
    with AdaptiveSession(folder, threads=1) as session:
        assert session.palette.files == folder
        session.run(None, feeds_for(palette, 1)[0])


def test_the_first_place_that_can_be_written_is_taken(tmp_path: Path) -> None:
    environ = {"EDGEDISTILL_CACHE": "/a", "CACHE_DIRECTORY": "/b:/c", "XDG_CACHE_HOME": "/d"}
    assert [str(path) for path in snapshot._caches(environ)][:3] == ["/a", "/b", "/d/edgedistill"]
    assert [*snapshot._caches({})] == [Path.home() / ".cache" / "edgedistill"]


def test_a_copy_without_the_kernels_help_is_the_same(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> int:
        raise OSError("not on this file system")

    monkeypatch.setattr(os, "copy_file_range", fails)
    palette = private_copy(load(folder))
    assert palette.files.is_relative_to(cache)
    palette.check_hashes()
