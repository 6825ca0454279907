from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_palette

from edgedistill.manifest import Palette, load


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
