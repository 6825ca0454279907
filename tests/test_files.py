"""Files that are replaced at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgedistill import files
from edgedistill.files import put_in_place, write_bytes, write_json


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "document.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["document.json"]


def test_a_write_that_cannot_be_synced_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.bin"
    write_bytes(path, b"old")

    def fail(_: Path) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(files, "sync", fail)
    with pytest.raises(OSError, match="full"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["weights.bin"]


def test_a_file_is_synced_before_it_is_renamed_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, path = tmp_path / ".a.part", tmp_path / "a"
    part.write_bytes(b"new")
    synced: list[tuple[str, bool]] = []
    monkeypatch.setattr(files, "sync", lambda place: synced.append((place.name, path.exists())))
    put_in_place(part, path)
    assert synced == [(".a.part", False), (tmp_path.name, True)]


def test_a_reader_of_the_old_file_keeps_it_and_others_may_read_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_bytes(path, b"old")
    with path.open("rb") as file:
        write_bytes(path, b"new")
        assert file.read() == b"old"
    assert path.stat().st_mode & 0o777 == 0o644
