"""Real data for tests that can do without: a folder of data sets, which a checkout need not have."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"


def folder(name: str) -> Path:
    """The data set of this name in EDGEDISTILL_DATA, or else in ``shared/data`` beside the checkout; skips the test."""
    found = Path(os.environ.get("EDGEDISTILL_DATA", _BESIDE)) / name
    if not found.is_dir():
        pytest.skip(f"{found} is not there; name the folder that holds {name} in EDGEDISTILL_DATA")
    return found
