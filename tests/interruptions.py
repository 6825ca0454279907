"""What a kill, a power cut or a failing disk leaves of an action's writing, at each of its system calls in turn.

Python reports each opening, renaming and removing of a file before it happens (`sys.addaudithook`). At each of those
calls under a folder, `states` copies the folder: a kill at that moment leaves it so. Files that were not synced by
then are also copied empty and cut in half, as a kill within a write or a power cut leaves them.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_EVENTS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate"}
_WRITING = os.O_WRONLY | os.O_RDWR
_hooks: list[Callable[[str], None]] = []  # those that see the calls; one at most


def _under(folder: Path, event: str, arguments: tuple[Any, ...]) -> bool:
    """Return whether the call changes something in the folder."""
    if event not in _EVENTS or (event == "open" and not arguments[2] & _WRITING):
        return False
    path, at = arguments[0], next(iter(arguments[2:]), -1) if event in ("os.rmdir", "os.mkdir") else -1
    if event in ("os.remove", "os.rmdir") and isinstance(arguments[1], int) and arguments[1] >= 0:
        at = arguments[1]
    if isinstance(path, int):
        return False
    base = Path(os.readlink(f"/proc/self/fd/{at}")) if isinstance(at, int) and at >= 0 else Path.cwd()  # noqa: PTH115
    return (base / os.fsdecode(path)).is_relative_to(folder)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _hooks and event in _EVENTS:
        (hook,) = _hooks
        _hooks.clear()  # what the hook itself does is not reported
        try:
            if _under(hook.__self__.folder, event, arguments):  # type: ignore[attr-defined]
                hook(event)
        finally:
            _hooks.append(hook)


sys.addaudithook(_audit)


class _Watch:
    """See the calls that change something in ``folder``, until `end`."""

    def __init__(self, folder: Path, on_call: Callable[[str], None]) -> None:
        self.folder, self._on_call = folder.resolve(), on_call

    def call(self, event: str) -> None:
        self._on_call(event)

    @contextmanager
    def on(self) -> Iterator[None]:
        _hooks.append(self.call)
        try:
            yield
        finally:
            _hooks.clear()


def states(folder: Path, copies: Path, action: Callable[[], object]) -> list[Path]:
    """Run the action, and return a copy of ``folder`` for each state that a kill or a power cut may leave it in.

    Equal states are returned once.
    """
    before = (path.stat() for path in folder.rglob("*"))
    synced = {stat.st_ino: stat.st_size for stat in before}  # size at the last sync, by inode
    seen: dict[tuple[Any, ...], Path] = {}
    real = os.fsync

    def fsync(handle: int) -> None:
        real(handle)
        stat = os.fstat(handle)
        synced[stat.st_ino] = stat.st_size

    def copy(_event: str) -> None:
        for share in (1.0, 0.5, 0.0):
            content = {path.relative_to(folder): _remains(path, share, synced) for path in sorted(folder.rglob("*"))}
            if (key := tuple(content.items())) not in seen:
                seen[key] = copies / str(len(seen))
                _put(seen[key], content)

    with pytest.MonkeyPatch.context() as patch, _Watch(folder, copy).on():
        patch.setattr(os, "fsync", fsync)
        action()
    return list(seen.values())


def _remains(path: Path, share: float, synced: dict[int, int]) -> bytes | None:
    """Return the file's content; where it was not synced, that share of it; None for a folder."""
    if path.is_dir():
        return None
    content = path.read_bytes()
    return content if synced.get(path.stat().st_ino) == len(content) else content[: int(share * len(content))]


def _put(place: Path, content: dict[Path, bytes | None]) -> None:
    place.mkdir(parents=True)
    for path, data in content.items():
        if data is None:
            (place / path).mkdir()
        else:
            (place / path).write_bytes(data)


def in_a_thread(action: Callable[[], object]) -> None:
    """Run the action in a thread of its own, to its end; what it raises is raised here."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(action).result()


def count(folder: Path, action: Callable[[], object]) -> int:
    """Run the action, and return how many calls of it change something in ``folder``."""
    calls: list[str] = []
    with _Watch(folder, calls.append).on():
        action()
    return len(calls)


@contextmanager
def failing(folder: Path, number: int) -> Iterator[None]:
    """Make that call (from 0) of those that change something in ``folder`` fail, as on a full disk."""
    calls: list[str] = []

    def call(event: str) -> None:
        calls.append(event)
        if len(calls) == number + 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))

    with _Watch(folder, call).on():
        yield
