"""Memory moves to huge pages where all of it is in use, and stays what it is."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np
import pytest

from edgedistill.runtime.engine.huge_pages import HugePages

_SETTINGS = Path("/sys/kernel/mm/transparent_hugepage")
_MANY = 32 << 20


def _kib(field: str) -> int:
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def _can_collapse() -> bool:
    release = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])
    return release >= (6, 1) and _SETTINGS.exists() and "[never]" not in (_SETTINGS / "enabled").read_text()


needs_huge_pages = pytest.mark.skipif(not _can_collapse(), reason="Linux before 6.1, or no huge pages")


def _memory() -> mmap.mmap:
    return mmap.mmap(-1, _MANY, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


@needs_huge_pages
def test_what_is_in_use_moves_and_stays_what_it_is() -> None:
    huge_pages, memory, rng = HugePages(), _memory(), np.random.default_rng(0)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    values = rng.integers(0, 256, _MANY, dtype=np.uint8)
    np.frombuffer(memory, np.uint8)[:] = values
    before, resident = _kib("AnonHugePages"), _kib("Rss")
    memory.madvise(mmap.MADV_HUGEPAGE)
    assert huge_pages.move() >= _MANY // 2
    assert _kib("AnonHugePages") - before >= _MANY // 2 // 1024
    assert abs(_kib("Rss") - resident) < 2048
    np.testing.assert_array_equal(np.frombuffer(memory, np.uint8), values)


@needs_huge_pages
def test_what_is_not_in_use_takes_no_memory() -> None:
    huge_pages, memory = HugePages(), _memory()
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    for start in range(0, _MANY, 8 * mmap.PAGESIZE):
        memory[start] = 1
    memory.madvise(mmap.MADV_HUGEPAGE)
    resident = _kib("Rss")
    huge_pages.move()
    assert _kib("Rss") - resident < 4096


@needs_huge_pages
def test_what_was_there_before_stays_where_it_is() -> None:
    memory = _memory()
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    memory[:] = bytes(_MANY)
    memory.madvise(mmap.MADV_HUGEPAGE)
    huge_pages, before = HugePages(), _kib("AnonHugePages")
    huge_pages.move()
    assert _kib("AnonHugePages") - before < _MANY // 2 // 1024


@pytest.mark.parametrize("settings", [{}, {"enabled": "always madvise [never]", "hpage_pmd_size": "2097152"}])
def test_where_there_are_none_or_none_are_wanted_nothing_is_done(tmp_path: Path, settings: dict[str, str]) -> None:
    folder = tmp_path / _SETTINGS.relative_to("/")
    folder.mkdir(parents=True)
    for name, text in settings.items():
        (folder / name).write_text(f"{text}\n")
    assert HugePages(tmp_path).move() == 0
