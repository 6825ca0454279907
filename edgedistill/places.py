"""Write results whole or not at all, by one writer at a time.

A writer locks its place, prepares the result in a scratch folder beside it, and renames that into place. The names
of the lock and of the scratch folders follow from the place, so the next writer clears up after one that was killed.
Readers take no lock.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgedistill.errors import InputError
from edgedistill.files import put_in_place, sync
from edgedistill.printable import get_logger

__all__ = [
    "LOCK_INSIDE",
    "install",
    "is_vacant",
    "lock",
    "recover",
    "scratch_folder",
    "sibling",
    "was_moved",
]

LOCK_INSIDE = ".edgedistill-lock"
_NEW, _OLD = "new", "old"  # kinds of companions: content that is being written, and content that is being replaced
_NAME_MAX = 255  # bytes, of the usual file systems
_WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}

_logger = get_logger(__name__)
_held = threading.local()  # .places: those that this thread has locked


def sibling(place: Path, kind: str) -> Path:
    """Return the path of the hidden companion of ``place`` that serves as its ``kind``."""
    name = f".{place.name}.edgedistill-{kind}"
    if len(os.fsencode(name)) > _NAME_MAX:
        name = f".{hashlib.sha256(os.fsencode(place.name)).hexdigest()}.edgedistill-{kind}"
    return place.with_name(name)


@contextmanager
def lock(target: Path) -> Iterator[None]:
    """Keep every other writer away from ``target``, which need not exist.

    The lock ends with the process, however that ends. A thread may lock a place that it has locked already.

    Raises:
        InputError: another process or thread is writing there.
        OSError: the lock file cannot be written.
    """
    place = target.resolve()
    held: set[Path] = _held.__dict__.setdefault("places", set())
    if place in held:
        yield
        return
    made = _make_folder(place.parent)
    try:
        path = _lock_path(place)
        handle = _acquire(path, target)
        held.add(place)
        try:
            yield
        finally:
            held.discard(place)
            with suppress(OSError):
                path.unlink()
            os.close(handle)
    finally:
        with suppress(OSError):  # which then hold something
            for folder in made:
                folder.rmdir()


def _make_folder(folder: Path) -> list[Path]:
    """Make a folder with those above it; return the new ones, the deepest first."""
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _lock_path(place: Path) -> Path:
    """Return a path that every writer of the place agrees on: beside it, or in it where nothing can lie beside it."""
    if place.is_dir() and (place.is_mount() or not os.access(place.parent, os.W_OK)):
        return place / LOCK_INSIDE
    return sibling(place, "lock")


def _acquire(path: Path, target: Path) -> int:
    """Lock the file at ``path``, and return its descriptor."""
    while True:
        handle = _open(path)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(handle, 20, 0).decode(errors="replace")
            os.close(handle)
            process = f" (process {holder})" if holder.isdecimal() else ""
            raise InputError(
                f"another command{process} is writing to {target}; wait until it ends, or give another place"
            ) from error
        except OSError as error:
            if error.errno not in _WITHOUT_LOCKS:
                os.close(handle)
                raise
            _logger.warning("%s: this file system has no locks; run no other command that writes there", target)
            return handle
        if _is_at(handle, path):
            with suppress(OSError):  # a full disk, or another user's file: the lock holds all the same
                os.ftruncate(handle, 0)
                os.pwrite(handle, str(os.getpid()).encode(), 0)
            return handle
        os.close(handle)  # its holder has removed it meanwhile


def _open(path: Path) -> int:
    """Open the lock file, and never what a link leads to; one that another user left is opened for reading."""
    flags = os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666)
    except PermissionError:
        if not path.exists():
            raise
        return os.open(path, os.O_RDONLY | flags)


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.lstat())
    except FileNotFoundError:
        return False


@contextmanager
def scratch_folder(target: Path) -> Iterator[Path]:
    """Lock ``target``, and give an empty folder on its file system that is removed at the end.

    Raises:
        InputError: another process or thread is writing to ``target``, or it is a mount point.
        OSError: the folder cannot be made.
    """
    with lock(target):
        if target.is_mount():
            raise InputError(f"{target} is a mount point, which cannot be replaced as a whole; give a folder in it")
        recover(target)
        folder = sibling(target.resolve(), _NEW)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def install(source: Path, target: Path) -> None:
    """Put ``source``, a file or a folder, in the place of ``target`` once its bytes are on the disk.

    Raises:
        OSError: it cannot be written or renamed.
    """
    place = target.resolve()
    for path in source.rglob("*"):
        sync(path)
    if source.is_dir() and place.is_dir():  # which no rename replaces
        old = sibling(place, _OLD)
        sync(source)
        place.rename(old)
        source.rename(place)
        sync(place.parent)
        shutil.rmtree(old, ignore_errors=True)
    else:
        put_in_place(source, place)


def recover(target: Path) -> None:
    """Clear up after a writer that was killed: the old content or the new one is in place, and nothing beside it.

    Raises:
        InputError: another process or thread is writing to ``target``.
    """
    with lock(target):
        place = target.resolve()
        if was_moved(target) and not place.exists():
            sibling(place, _OLD).rename(place)
        for kind in (_OLD, _NEW):
            shutil.rmtree(sibling(place, kind), ignore_errors=True)


def was_moved(target: Path) -> bool:
    """Return whether the earlier content of ``target`` is beside it, where `install` puts it for a moment."""
    return sibling(target.resolve(), _OLD).is_dir()


def is_vacant(folder: Path) -> bool:
    """Return whether ``folder`` is missing, or empty but for a lock."""
    return not folder.exists() or (folder.is_dir() and all(path.name == LOCK_INSIDE for path in folder.iterdir()))
