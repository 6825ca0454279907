from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import tiny_palette
from board_trees import BOARDS, Tree

from edgedistill.palette import Palette, load


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny palette without profiles; tests that change one copy it first."""
    return tiny_palette.write(tmp_path_factory.mktemp("tiny") / "palette")


@pytest.fixture
def profiled(tiny: Path) -> Callable[..., Palette]:
    """The tiny palette with the profiles that ``tiny_palette.profile`` makes of each set of options."""

    def build(*options: dict[str, object]) -> Palette:
        palette = load(tiny)
        made = [tiny_palette.profile(palette.manifest, **option) for option in options]
        return Palette(palette.folder, palette.manifest, {profile.device.name: profile for profile in made})

    return build


@pytest.fixture
def boards() -> Mapping[str, Tree]:
    """Files by board."""
    return BOARDS


@pytest.fixture
def plant(tmp_path: Path) -> Callable[[Tree], Path]:
    """Writes files below a folder that stands for "/", over those that are there."""

    def write(files: Tree) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return tmp_path

    return write


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process may use four cores, as on the boards."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
