from __future__ import annotations

from pathlib import Path

import pytest
import tiny_palette


@pytest.fixture(scope="session")
def palette(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny palette that labels texts; read it, do not write to it."""
    return tiny_palette.write(tmp_path_factory.mktemp("labels") / "palette")


@pytest.fixture(scope="session")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny palette that finds entities."""
    return tiny_palette.write(tmp_path_factory.mktemp("entities") / "palette", tiny_palette.TAGGED)
