"""Exports that are killed, that run out of disk, or that meet another: the same command always works again."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import interruptions
import pytest
import tiny_encoder
import tiny_supernet

from edgedistill import places
from edgedistill.architecture import Subnet
from edgedistill.errors import ExportError, InputError
from edgedistill.exporters import check_place, members, write_palette
from edgedistill.palette import Palette, load

SUBNETS = list(tiny_encoder.SPACE)
SUPERNET, ROWS = tiny_supernet.supernet(), tiny_supernet.rows()


def _export(folder: Path, *subnets: Subnet, changing: Palette | None = None) -> Palette:
    return write_palette(SUPERNET, subnets, ROWS, folder, lambda _: None, changing=changing)


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _names(folder: Path) -> list[str]:
    """Return the names of a palette's subnets; fail where it is not whole."""
    palette = load(folder)
    palette.check_hashes()
    return [entry.name for entry in palette.manifest.subnets]


@pytest.mark.slow
def test_a_new_folder_takes_the_same_export_after_a_kill_at_any_moment(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    left = interruptions.states(home, tmp_path / "states", lambda: _export(home / "palette", SUBNETS[3]))
    undisturbed = _files(home / "palette")
    assert len(left) > 10
    for state in left:
        check_place(state / "palette")
    for state in left[::4]:
        _export(state / "palette", SUBNETS[3])
        assert _files(state / "palette") == undisturbed
        assert [path.name for path in state.iterdir()] == ["palette"]


@pytest.mark.slow
def test_a_palette_is_the_old_or_the_new_one_whenever_its_export_is_killed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    _export(home / "palette", SUBNETS[0])
    _export(home / "palette", SUBNETS[3])  # so that there is something to clear away
    new, old = SUBNETS[5], SUBNETS[3]
    left = interruptions.states(home, tmp_path / "states", lambda: _export(home / "palette", new))
    names = [_names(state / "palette") for state in left]
    assert names == sorted(names, key=[[old.name], [new.name]].index)  # never back
    assert {name for (name,) in names} == {old.name, new.name}
    for state in left[:: len(left) // 3]:
        _export(state / "palette", new)
        assert _names(state / "palette") == [new.name]


def test_a_family_is_the_old_or_the_new_one_whenever_its_change_is_killed(tmp_path: Path) -> None:
    home, old, new = tmp_path / "home", SUBNETS[:2], SUBNETS[:1]
    palette = _export(home / "palette", *old)
    left = interruptions.states(
        home, tmp_path / "states", lambda: _export(home / "palette", *new, changing=palette)
    )  # fmt: skip
    families = [[subnet.name for subnet in family] for family in (old, new)]
    assert all(_names(state / "palette") in families for state in left)
    for state in left[:: len(left) // 3]:
        if _names(state / "palette") == families[0]:
            _export(state / "palette", *new, changing=load(state / "palette"))
        assert _names(state / "palette") == families[1]


def test_a_call_that_fails_leaves_the_old_palette_and_no_part_of_a_new_one(tmp_path: Path) -> None:
    folder, first, second = tmp_path / "palette", SUBNETS[3], SUBNETS[5]
    _export(folder, first)
    before = _files(folder)
    calls = interruptions.count(folder, lambda: _export(tmp_path / "palette", second))
    shutil.rmtree(folder)
    assert calls > 8
    for number in range(0, calls, 2):
        folder.mkdir()
        for name, content in before.items():
            (folder / name).write_bytes(content)
        failed = True
        with suppress(OSError), interruptions.failing(folder, number):
            _export(folder, second)
            failed = False
        assert _names(folder) == [(first if failed else second).name]
        if failed:
            assert _files(folder) == before
        shutil.rmtree(folder)


@contextmanager
def _room(size: int) -> Iterator[None]:
    """Let no file grow beyond ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 100, 5_000, 20_000, 40_000])
def test_without_room_the_old_palette_stands(tmp_path: Path, size: int) -> None:
    folder = tmp_path / "palette"
    _export(folder, SUBNETS[3])
    before = _files(folder)
    with pytest.raises(OSError, match="File too large"), _room(size):
        _export(folder, SUBNETS[0])
    assert _files(folder) == before
    with pytest.raises(OSError, match="File too large"), _room(size):
        _export(tmp_path / "new", SUBNETS[0])
    assert [path.name for path in tmp_path.iterdir()] == ["palette"]


def test_two_exports_into_one_folder_exclude_each_other(tmp_path: Path) -> None:
    """The second comes in the midst of the first, from another thread, which is refused as another process is."""
    refused = []

    def second() -> None:
        with pytest.raises(InputError, match="is writing to") as caught:
            _export(tmp_path / "palette", SUBNETS[5])
        refused.append(caught.value)

    write_palette(SUPERNET, SUBNETS[3:5], ROWS, tmp_path / "palette", lambda _: interruptions.in_a_thread(second))
    assert len(refused) == 2
    assert _names(tmp_path / "palette") == [subnet.name for subnet in SUBNETS[3:5]]


def test_a_palette_of_another_version_stands_when_an_export_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "palette"
    _export(folder, SUBNETS[3])
    document = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({"schema_version": 99} | document | {"schema_version": 99}))
    before = _files(folder)

    def fail(*_: object) -> None:
        raise ExportError("it differs")

    monkeypatch.setattr(members, "check_graph", fail)
    with pytest.raises(ExportError, match="it differs"):
        _export(folder, SUBNETS[5])
    assert _files(folder) == before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("letter.txt", "dear"),
        ("manifest.json", '{"name": "A web application", "icons": []}'),
        ("weights.bin", "of another program"),
    ],
)
def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ExportError, match="exists and is not a palette; give a new or an empty folder"):
        _export(tmp_path, SUBNETS[0])
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: content}
    with pytest.raises(ExportError, match="is not a folder"):
        _export(tmp_path / name, SUBNETS[0])


def test_what_others_put_into_a_palette_survives_a_failed_and_a_good_export(tmp_path: Path) -> None:
    folder = tmp_path / "palette"
    _export(folder, SUBNETS[3])

    def put(_: str) -> None:
        (folder / "notes.txt").write_text("ours")
        (folder / "profiles").mkdir(exist_ok=True)

    def put_and_fail(name: str) -> None:
        put(name)
        raise ExportError("it differs")

    with pytest.raises(ExportError, match="it differs"):
        write_palette(SUPERNET, SUBNETS[5:6], ROWS, folder, put_and_fail)
    write_palette(SUPERNET, SUBNETS[5:6], ROWS, folder, put)
    assert {"notes.txt", "profiles", "manifest.json"} < {path.name for path in folder.iterdir()}
    with pytest.raises(ExportError, match="it differs"):
        write_palette(SUPERNET, SUBNETS[5:6], ROWS, tmp_path / "new", lambda _: _leave_a_note(tmp_path / "new"))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["notes.txt"]
    assert not places.is_vacant(tmp_path / "new")


def _leave_a_note(folder: Path) -> None:
    (folder / "notes.txt").write_text("ours")
    raise ExportError("it differs")
