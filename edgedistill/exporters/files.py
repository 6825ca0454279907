"""A palette's files on disk: written beside, put in place at once, taken away where an export fails."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgedistill.errors import ExportError, PaletteError
from edgedistill.manifest import MANIFEST_NAME, FileEntry, load

__all__ = ["check_place", "file_entry", "new_files", "put", "sync"]

_OURS = re.compile(
    r"weights-\w+-[0-9a-f]{12}\.bin|l\d+-d\d+-[\w-]+-[0-9a-f]{12}\.onnx|(tokenizer|probes)-[0-9a-f]{12}\.json|\.\S+\.part"
)


def check_place(folder: Path) -> None:
    """Refuse to write where something else lies: worth asking before the long part.

    Raises:
        ExportError: the folder is neither new, nor empty, nor a palette.
    """
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / MANIFEST_NAME).exists())):
        raise ExportError(f"{folder} exists and is no palette; give a new or an empty folder")


@contextmanager
def new_files(folder: Path) -> Iterator[None]:
    """Make room, and on failure take away whatever the block wrote."""
    is_new = not folder.exists()
    check_place(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _remove_unnamed(folder)
    before = {path.name for path in folder.iterdir()}
    try:
        yield
    except BaseException:
        for path in folder.iterdir():
            if path.name not in before:
                path.unlink()
        if is_new:
            folder.rmdir()
        raise


def _remove_unnamed(folder: Path) -> None:
    """Delete files of earlier exports that the present manifest does not name."""
    try:
        named = {entry.name for entry in load(folder).manifest.files}
    except PaletteError:
        named = set()
    for path in folder.iterdir():
        if _OURS.fullmatch(path.name) and path.name not in named:
            path.unlink()


def file_entry(path: Path) -> FileEntry:
    """Its name, size and hash."""
    content = path.read_bytes()
    return FileEntry(name=path.name, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def put(path: Path, content: bytes) -> None:
    """Write beside, then rename: the same file may be open in a session of the palette that is there."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)


def sync(folder: Path) -> None:
    """Put the files' bytes on the disk before the manifest names them."""
    for path in folder.iterdir():
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
