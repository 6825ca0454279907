from __future__ import annotations

from pathlib import Path

import pytest
import tiny_palette


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny palette that labels pairs of texts."""
    return tiny_palette.write(tmp_path_factory.mktemp("pairs") / "palette", tiny_palette.PAIRS)


@pytest.fixture(scope="session")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny palette that gives texts numbers."""
    return tiny_palette.write(tmp_path_factory.mktemp("numbers") / "palette", tiny_palette.NUMBERS)


@pytest.fixture(scope="session")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny palette whose members all know the tag of each word."""
    return tiny_palette.write(tmp_path_factory.mktemp("tagged") / "palette", tiny_palette.TAGGED)


@pytest.fixture(scope="session")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny palette of sentence encoders, with the mixing table of `tiny_palette.RECALL`."""
    return tiny_palette.write(tmp_path_factory.mktemp("vectors") / "palette", tiny_palette.VECTORS)
