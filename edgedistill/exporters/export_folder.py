"""Put a palette's files on disk: written next to their place, installed at once, removed if an export fails."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgedistill.errors import ExportError
from edgedistill.files import write_bytes
from edgedistill.palette import MANIFEST_NAME, FileEntry
from edgedistill.places import LOCK_INSIDE, lock

__all__ = ["check_place", "file_entry", "new_files", "put"]

_CONTENT = re.compile(
    r"weights-\w+-[0-9a-f]{12}\.bin|l\d+-d\d+-[\w-]+-[0-9a-f]{12}\.onnx|(?:tokenizer|probes)-[0-9a-f]{12}\.json"
)
_UNFINISHED = re.compile(rf"\.\S+\.part|\.{re.escape(MANIFEST_NAME)}-\w+")
_BEGINNING_OF_MANIFEST = b'"schema_version"'


def check_place(folder: Path) -> None:
    """Refuse a folder that holds something else: worth a call before the long part.

    Raises:
        ExportError: the folder is neither new, nor empty, nor a palette, nor what an export left that was killed.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ExportError(f"{folder} is not a folder; give a new or an empty one")
    if not _has_manifest(folder) and not all(_is_ours(path) for path in folder.iterdir()):
        raise ExportError(f"{folder} exists and is not a palette; give a new or an empty folder")


def _has_manifest(folder: Path) -> bool:
    """Return whether there is a palette's manifest, of whatever version; other programs have a manifest.json too."""
    path = folder / MANIFEST_NAME
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return _BEGINNING_OF_MANIFEST in file.read(64)


def _is_ours(path: Path) -> bool:
    return bool(_CONTENT.fullmatch(path.name) or _UNFINISHED.fullmatch(path.name) or path.name == LOCK_INSIDE)


@contextmanager
def new_files(folder: Path) -> Iterator[None]:
    """Lock the folder and make room, and on failure take away whatever the block wrote.

    Raises:
        ExportError: the folder holds something else.
        InputError: another command is writing there.
    """
    with lock(folder):
        is_new = not folder.exists()
        check_place(folder)
        folder.mkdir(parents=True, exist_ok=True)
        _remove_unnamed(folder)
        before = {path.name for path in folder.iterdir()}
        try:
            yield
        except BaseException:
            for path in _written(folder):
                if path.name not in before:
                    path.unlink()
            if is_new:
                with suppress(OSError):  # the user has put something there
                    folder.rmdir()
            raise


def _written(folder: Path) -> Iterator[Path]:
    """Give the files of exports, without the manifest, finished or not."""
    for path in list(folder.iterdir()):
        if _CONTENT.fullmatch(path.name) or _UNFINISHED.fullmatch(path.name):
            yield path


def _remove_unnamed(folder: Path) -> None:
    """Delete files of earlier exports that the present manifest does not name.

    The manifest is searched as text, so that one of another version protects its files too.
    """
    path = folder / MANIFEST_NAME
    named = _CONTENT.findall(path.read_text(errors="replace")) if path.is_file() else []
    for path in _written(folder):
        if path.name not in named:
            path.unlink()


def file_entry(path: Path) -> FileEntry:
    """Return a file's name, size and hash."""
    content = path.read_bytes()
    return FileEntry(name=path.name, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def put(path: Path, content: bytes) -> None:
    """Write a file, which may be open in a session of the palette that is there; one that has this content stays."""
    if not path.is_file() or path.read_bytes() != content:
        write_bytes(path, content)
