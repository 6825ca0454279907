from __future__ import annotations

import pytest

from edgedistill.runtime.sensors import system


@pytest.fixture
def no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call waits for the sensors' threads however busy the machine of the tests is."""
    monkeypatch.setattr(system, "_WAIT_S", 60.0)
