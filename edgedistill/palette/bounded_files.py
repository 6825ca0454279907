"""Bounded reads of a palette's files: regular files only, of at most a given size, and their hashes.

A palette may come from anyone. So a pipe must not hang its reader, and a device or a sparse file must not fill memory.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from edgedistill.errors import PaletteError

__all__ = ["Stamp", "file_stat", "open_file", "read_file", "sha256_of", "stamp"]

_CHUNK = 1 << 20
_ADVICE = "export or copy the palette again"
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe that took the file's place must not block

Stamp = tuple[int, int, int, int, int]
"""Device, inode, size, and the times of the last change of content and of anything."""


def file_stat(path: Path, advice: str = _ADVICE) -> os.stat_result:
    """Return the status of a regular file, links followed; ``advice`` ends the message of an error.

    Raises:
        PaletteError: it is missing, cannot be read, or is anything but a regular file.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise PaletteError(f"{path} {_missing(path, error)}; {advice}") from error
    return _checked(path, status, advice)


def stamp(status: os.stat_result) -> Stamp:
    """Return what changes whenever a file's content does, unless the clock stands still."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def open_file(path: Path, advice: str = _ADVICE) -> int:
    """Open a regular file to read; return its descriptor.

    Raises:
        PaletteError: as `file_stat`.
    """
    file_stat(path, advice)  # opening a device may already do something
    try:
        file = os.open(path, _FLAGS)
    except OSError as error:
        raise PaletteError(f"{path} cannot be read: {error.strerror}") from error
    try:
        _checked(path, os.fstat(file), advice)
    except PaletteError:
        os.close(file)
        raise
    return file


def read_file(path: Path, limit: int, advice: str = _ADVICE) -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes.

    Raises:
        PaletteError: as `file_stat`, or the file is larger.
    """
    with os.fdopen(open_file(path, advice), "rb") as file:
        try:
            content = file.read(limit + 1) if os.fstat(file.fileno()).st_size <= limit else None
        except OSError as error:
            raise PaletteError(f"{path} cannot be read: {error.strerror}") from error
    if content is None or len(content) > limit:
        raise PaletteError(f"{path} has more than {limit / 1e6:.0f} MB; expected the file that 'edgedistill' wrote")
    return content


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256; it is read again only when its stamp changed.

    Raises:
        PaletteError: as `file_stat`.
    """
    with os.fdopen(open_file(path), "rb") as file:
        before = stamp(os.fstat(file.fileno()))
        key = before[:2]
        remembered = _hashes.get(key)
        if remembered is not None and remembered[0] == before:
            return remembered[1]
        digest = hashlib.sha256()
        try:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        except OSError as error:
            raise PaletteError(f"{path} cannot be read: {error.strerror}") from error
        if stamp(os.fstat(file.fileno())) == before:
            _hashes[key] = before, digest.hexdigest()
    return digest.hexdigest()


_hashes: dict[tuple[int, int], tuple[Stamp, str]] = {}


def _checked(path: Path, status: os.stat_result, advice: str) -> os.stat_result:
    if not stat.S_ISREG(status.st_mode):
        raise PaletteError(f"{path} is not a regular file; {advice}")
    return status


def _missing(path: Path, error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "is a link to a file that is missing" if path.is_symlink() else "is missing"
    return f"cannot be read: {error.strerror if isinstance(error, OSError) else error}"
