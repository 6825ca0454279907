"""A kill while one supernet takes another's place loses neither."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgedistill.supernet.checkpoint import recover, replace_folder


class Killed(BaseException):
    """Nothing catches it."""


def _write(folder: Path, text: str) -> None:
    with replace_folder(folder) as scratch:
        (scratch / "file").write_text(text)


@pytest.mark.parametrize(("renames", "left"), [(0, "first"), (1, "first"), (2, "second")])
def test_a_kill_between_renames_leaves_one_of_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int, left: str
) -> None:
    _write(tmp_path / "it", "first")
    real, done = Path.rename, 0

    def rename(self: Path, target: Path) -> Path:
        nonlocal done
        if done == renames:
            raise Killed
        done += 1
        return real(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", rename)
        if renames < 2:
            with pytest.raises(Killed):
                _write(tmp_path / "it", "second")
        else:
            _write(tmp_path / "it", "second")
    (tmp_path / ".it-stale").mkdir()
    (tmp_path / ".item").mkdir()
    recover(tmp_path / "it")
    assert (tmp_path / "it" / "file").read_text() == left
    assert {path.name for path in tmp_path.iterdir()} == {"it", ".item"}
