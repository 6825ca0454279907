"""One writer at a time, and results that appear whole, whenever a writer is killed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import interruptions
import pytest

from edgedistill import places
from edgedistill.errors import InputError

_HOLDER = """
import sys
from pathlib import Path
from edgedistill.places import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def _holder(place: Path) -> subprocess.Popen[str]:
    """Start a process that holds the lock until its input ends; a context manager."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, place], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def _is_free(place: Path) -> bool:
    try:
        with places.lock(place):
            return True
    except InputError:
        return False


def test_another_process_is_refused_by_name_and_a_dead_one_holds_nothing(tmp_path: Path) -> None:
    place = tmp_path / "palette"
    with _holder(place) as process:
        with pytest.raises(InputError) as caught, places.lock(place):
            pass
        assert str(caught.value) == (
            f"another command (process {process.pid}) is writing to {place}; wait until it ends, or give another place"
        )
        process.kill()
    assert [path.name for path in tmp_path.iterdir()] == [".palette.edgedistill-lock"]
    with places.lock(place):
        pass
    assert list(tmp_path.iterdir()) == []


def test_every_name_of_a_place_is_the_same_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    with _holder(tmp_path / "real") as process:
        assert not _is_free(Path("real"))
        assert not _is_free(Path("link"))
        assert not _is_free(Path("real/../real"))
        assert _is_free(Path("another"))
        process.communicate()
    assert _is_free(Path("link"))


def test_a_thread_may_lock_again_what_it_has_and_no_other_thread_may(tmp_path: Path) -> None:
    place, free = tmp_path / "palette", list[bool]()

    def in_a_thread() -> None:
        thread = threading.Thread(target=lambda: free.append(_is_free(place)))
        thread.start()
        thread.join()

    with places.lock(place):
        with places.lock(place):
            in_a_thread()
        in_a_thread()
    in_a_thread()
    assert free == [False, False, True]


def test_a_fresh_lock_file_is_never_confused_with_one_that_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder removes the file after another has opened it and before that one locks it."""
    place, real, calls = tmp_path / "palette", fcntl.flock, list[int]()

    def late(handle: int, operation: int) -> None:
        if not calls:
            (tmp_path / ".palette.edgedistill-lock").unlink()
        calls.append(handle)
        real(handle, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with places.lock(place):
        assert len(calls) == 2
        assert (tmp_path / ".palette.edgedistill-lock").read_text() == str(os.getpid())


def test_folders_made_for_a_lock_go_again_unless_something_is_in_them(tmp_path: Path) -> None:
    with places.lock(tmp_path / "a" / "b" / "palette"):
        pass
    assert list(tmp_path.iterdir()) == []
    with places.lock(tmp_path / "a" / "b" / "palette"):
        (tmp_path / "a" / "file").touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["file"]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_written_to_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with caplog.at_level(logging.WARNING), places.lock(tmp_path / "palette"):
        assert "this file system has no locks" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_in_the_place_where_nothing_can_be_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "palette"
    place.mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda self: self == place)
    with places.lock(place):
        assert [path.name for path in place.iterdir()] == [places.LOCK_INSIDE]
        assert list(tmp_path.iterdir()) == [place]
    assert list(place.iterdir()) == []


def test_a_mount_point_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "mounted"
    place.mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda self: self == place)
    with places.lock(place):
        assert places.is_vacant(place)
    with pytest.raises(InputError, match="is a mount point, which cannot be replaced as a whole; give a folder in it"):
        _write(place, "new")
    assert list(place.iterdir()) == []


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("dear")
    (tmp_path / ".palette.edgedistill-lock").symlink_to("letter")
    with pytest.raises(OSError, match="symbolic links"), places.lock(tmp_path / "palette"):
        pass
    assert (tmp_path / "letter").read_text() == "dear"


def test_the_longest_name_has_companions_of_its_own(tmp_path: Path) -> None:
    first, second = tmp_path / ("n" * 255), tmp_path / ("n" * 254)
    assert places.sibling(first, "new") != places.sibling(second, "new")
    with places.scratch_folder(first) as scratch:
        (scratch / "file").touch()
        places.install(scratch, first)
    assert (first / "file").exists()
    assert list(tmp_path.iterdir()) == [first]


def _write(place: Path, text: str) -> None:
    with places.scratch_folder(place) as scratch:
        (scratch / "file").write_text(text)
        (scratch / "folder").mkdir()
        (scratch / "folder" / "other").write_text(text)
        places.install(scratch, place)


def _write_file(place: Path, text: str) -> None:
    with places.scratch_folder(place) as scratch:
        (scratch / "it").write_text(text)
        places.install(scratch / "it", place)


def _text(place: Path) -> str:
    if place.is_dir():
        assert (place / "file").read_text() == (place / "folder" / "other").read_text()
        return (place / "file").read_text()
    return place.read_text()


@pytest.mark.parametrize("write", [_write, _write_file])
def test_a_kill_at_any_moment_leaves_the_old_or_the_new(tmp_path: Path, write: Callable[[Path, str], None]) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".item").mkdir()  # others' files, by names like ours
    (home / ".it-settings").mkdir()
    write(home / "it", "first")
    found = set()
    for state in interruptions.states(home, tmp_path / "states", lambda: write(home / "it", "second")):
        places.recover(state / "it")
        found.add(_text(state / "it"))
        assert {path.name for path in state.iterdir()} == {"it", ".item", ".it-settings"}, state
        write(state / "it", "third")
        assert _text(state / "it") == "third"
    assert found == {"first", "second"}


def test_an_error_at_any_moment_leaves_the_old_or_the_new_and_nothing_beside(tmp_path: Path) -> None:
    """The disk fails at one call after another."""
    found = set()
    for number in range(interruptions.count(tmp_path, lambda: _write(tmp_path / "it", "first"))):
        _write(tmp_path / "it", "first")
        reported = True
        with contextlib.suppress(OSError), interruptions.failing(tmp_path, number):
            _write(tmp_path / "it", "second")
            reported = False  # clearing up may fail without a word
        places.recover(tmp_path / "it")
        assert _text(tmp_path / "it") == "second" or reported
        found.add(_text(tmp_path / "it"))
        assert [path.name for path in tmp_path.iterdir()] == ["it"]
    assert found == {"first", "second"}


def test_vacant_is_what_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    vacant = [places.is_vacant(path) for path in (tmp_path / "none", tmp_path / "empty", tmp_path / "file", tmp_path)]
    assert vacant == [True, True, False, False]
