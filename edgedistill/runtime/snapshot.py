"""Copy a palette's files privately, so that nothing written to the palette's folder reaches a session.

A session maps its weights from a file. Truncating that file kills the process, and writing to it changes answers. So a
palette is served from a copy in a cache folder of this user, whose hashes are taken of the copy itself. The copy is
mapped as the original would be: it takes disk space, and no memory.

Layout of a cache: ``palettes/<of the folder>/<digest>/`` has the files, ``<digest>.lock`` is locked by everyone who
uses them, and ``<digest>.*.new`` is a copy under way. Copies that nobody uses go when a palette of the same folder is
opened, and those of folders that are gone at any opening.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from edgedistill.errors import PaletteError
from edgedistill.files import write_json
from edgedistill.palette import MANIFEST_NAME, Palette
from edgedistill.palette.bounded_files import file_stat, open_file, read_file, sha256_of, stamp
from edgedistill.printable import get_logger

__all__ = ["private_copy", "restore"]

_log = get_logger(__name__)

_SPARE_BYTES = 32 * 10**6  # are left free on the cache's disk
_STAMPS = "originals.json"
_MAX_STAMPS_BYTES = 10**6
_TRIES = 5
_CHUNK = 1 << 20


def private_copy(palette: Palette) -> Palette:
    """Return the palette with every SHA-256 checked, and its files read from a private copy.

    Without a cache folder that can be written, it is the palette itself, and a warning says what that risks.

    Raises:
        PaletteError: a file was altered or cannot be read.
    """
    for cache in _caches(os.environ):
        try:
            files, hold = _Copies(cache, palette).open()
        except OSError as error:
            _log.debug("%s is not used as a cache: %s", cache, error)
            continue
        return Palette(
            palette.folder,
            palette.manifest,
            palette.profiles,
            palette.profiles_folder,
            files=files,
            hold=hold,
            pinned=palette.pinned,
            unusable_profiles=palette.unusable_profiles,
        )
    palette.check_hashes()
    _log.warning(
        "%s is served from its own files, as no cache folder has room for a copy: do not write to them meanwhile, "
        "which would end this process or change its answers; set EDGEDISTILL_CACHE to a folder",
        palette.folder,
    )
    return palette


def restore(palette: Palette) -> None:
    """Copy a palette's files again where its private copy was removed, as by an emptied cache.

    Raises:
        PaletteError: they are not in its folder any more.
    """
    if palette.files != palette.folder:
        original = Palette(palette.folder, palette.manifest, {})
        palette.hold = private_copy(original).hold or palette.hold


def _caches(environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the folders that may be cached in, the first choice first."""
    if environ.get("EDGEDISTILL_CACHE"):
        yield Path(environ["EDGEDISTILL_CACHE"]).absolute()
    if environ.get("CACHE_DIRECTORY"):  # systemd's
        yield Path(environ["CACHE_DIRECTORY"].partition(":")[0])
    if environ.get("XDG_CACHE_HOME"):
        yield Path(environ["XDG_CACHE_HOME"], "edgedistill")
    with suppress(RuntimeError):  # a user without a home
        yield Path.home() / ".cache" / "edgedistill"


class _Hold:
    """A shared lock on a copy, until it is forgotten."""

    def __init__(self, file: int) -> None:
        weakref.finalize(self, os.close, file)


class _Copies:
    """The private copies of one palette folder. Every method may raise OSError, where the cache cannot be used."""

    def __init__(self, cache: Path, palette: Palette) -> None:
        self._palette, self._root = palette, cache / "palettes"
        self._digest = palette.manifest.digest
        self._folder = self._root / hashlib.sha256(os.fsencode(palette.folder)).hexdigest()[:16]
        self._files = self._folder / self._digest

    def open(self) -> tuple[Path, _Hold]:
        """Return where the palette's files are, and the lock that keeps them there."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._root.stat().st_uid != os.geteuid():
            raise PermissionError(f"{self._root} is another user's")
        hold = self._held()
        if self._is_sound():
            self._check_originals()
        else:
            self._copy()
        self._sweep()
        return self._files, hold

    def _held(self) -> _Hold:
        """Lock the copy, whether or not it is there yet."""
        for _ in range(_TRIES):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            with suppress(FileNotFoundError):  # swept between two lines
                file = _locked(self._lock(self._digest), fcntl.LOCK_SH)
                if file is not None:
                    (self._folder / "folder").write_bytes(os.fsencode(self._palette.folder))
                    return _Hold(file)
        raise BlockingIOError(f"{self._files} is being removed")

    def _lock(self, digest: str) -> Path:
        return self._folder / f"{digest}.lock"

    def _is_sound(self) -> bool:
        try:
            return all(sha256_of(self._files / e.name) == e.sha256 for e in self._palette.manifest.files)
        except PaletteError:
            return False

    def _check_originals(self) -> None:
        """Compare the originals with their hashes, as far as they changed since they were copied."""
        stamps, changed = _read_stamps(self._files / _STAMPS), False
        for entry in self._palette.manifest.files:
            original = self._palette.folder / entry.name
            if stamps.get(entry.name) != [*stamp(file_stat(original))]:
                changed = True
                _check_hash(original, original, entry.sha256)
                stamps[entry.name] = [*stamp(file_stat(original))]
        if changed:
            write_json(self._files / _STAMPS, stamps)

    def _copy(self) -> None:
        """Copy every file and check the copies, then rename the whole into place."""
        size = sum(entry.size_bytes for entry in self._palette.manifest.files)
        if shutil.disk_usage(self._folder).free < size + _SPARE_BYTES:
            raise OSError(f"{self._folder} has no room for {size / 1e6:.0f} MB")
        fresh = Path(tempfile.mkdtemp(prefix=f"{self._digest}.", suffix=".new", dir=self._folder))
        try:
            stamps = {}
            for entry in self._palette.manifest.files:
                original = self._palette.folder / entry.name
                stamps[entry.name] = [*stamp(file_stat(original))]
                _copy_file(original, fresh / entry.name, entry.size_bytes)
                _check_hash(fresh / entry.name, original, entry.sha256)
            write_json(fresh / _STAMPS, stamps)
            self._put(fresh)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _put(self, fresh: Path) -> None:
        for _ in range(_TRIES):
            try:
                fresh.rename(self._files)
            except OSError:
                if self._is_sound():  # another process was faster
                    return
                # A damaged copy; who has it mapped keeps its bytes.
                with suppress(OSError):
                    self._files.rename(fresh.with_suffix(".old"))
                shutil.rmtree(fresh.with_suffix(".old"), ignore_errors=True)
            else:
                return
        raise BlockingIOError(f"{self._files} cannot be replaced")

    def _sweep(self) -> None:
        """Remove copies that nobody uses: of this folder's other palettes, and of folders that hold none any more."""
        for folder in self._root.iterdir():
            if folder == self._folder or not _has_palette(folder):
                _remove_unused(folder)


def _has_palette(folder: Path) -> bool:
    try:
        original = os.fsdecode((folder / "folder").read_bytes())
    except OSError:
        return True  # it is being made, or is not ours
    return os.path.lexists(Path(original, MANIFEST_NAME))


def _remove_unused(folder: Path) -> None:
    for lock in folder.glob("*.lock"):
        with suppress(OSError):
            file = _locked(lock, fcntl.LOCK_EX)
            if file is None:
                continue
            try:
                for path in folder.glob(f"{lock.stem}*"):
                    if path != lock:
                        shutil.rmtree(path, ignore_errors=True)
                lock.unlink()
            finally:
                os.close(file)
    with suppress(OSError):
        if not any(path.name != "folder" for path in folder.iterdir()):
            (folder / "folder").unlink()
            folder.rmdir()


def _locked(path: Path, kind: int) -> int | None:
    """Open and lock a file; None where another process has locked it otherwise, or removed it meanwhile."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
        if os.fstat(file).st_nlink:
            return file
    except BlockingIOError:
        pass
    except BaseException:
        os.close(file)
        raise
    os.close(file)
    return None


def _read_stamps(path: Path) -> dict[str, list[int]]:
    try:
        stamps = json.loads(read_file(path, _MAX_STAMPS_BYTES))
    except (PaletteError, ValueError):
        return {}
    return stamps if isinstance(stamps, dict) else {}


def _check_hash(path: Path, original: Path, expected: str) -> None:
    if sha256_of(path) != expected:
        raise PaletteError(
            f"{original} was altered: its SHA-256 is not the manifest's; export or copy the palette again"
        )


def _copy_file(source: Path, target: Path, size: int) -> None:
    """Copy by sharing the disk's blocks where the file system can."""
    with os.fdopen(open_file(source), "rb") as read, target.open("xb") as write:
        if not _share(read.fileno(), write.fileno(), size):
            read.seek(0)
            write.seek(0)
            write.truncate()
            left = size
            while left > 0 and (chunk := read.read(min(_CHUNK, left))):
                write.write(chunk)
                left -= len(chunk)


def _share(source: int, target: int, size: int) -> bool:
    """Copy within the kernel; return whether all of it was copied."""
    copied = 0
    try:
        while copied < size and (part := os.copy_file_range(source, target, size - copied)):
            copied += part
    except (AttributeError, OSError):
        return False
    return copied == size
