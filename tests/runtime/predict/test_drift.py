"""What a session has seen on the quiet machine, held against the profile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_palette

from edgedistill.errors import InputError
from edgedistill.palette import load, write_profile
from edgedistill.runtime import AdaptiveSession
from edgedistill.runtime.device import device_name
from edgedistill.runtime.predict.drift import Drift, Drifted, corrected
from edgedistill.runtime.profiles import choose_profile
from edgedistill.runtime.sensors import Readings
from edgedistill.testing import FakeSensors

QUIET = Readings(other_load=0.02)


@pytest.mark.parametrize(
    ("readings", "counts"),
    [
        (QUIET, True),
        (Readings(other_load=0.02, throttled=False), True),
        (Readings(other_load=0.02, throttled=True), False),
        (Readings(other_load=0.5), False),
        (Readings(), False),  # a machine that does not tell
    ],
)
def test_only_what_nothing_else_slowed_down_counts(readings: Readings, counts: bool) -> None:
    drift = Drift()
    for _ in range(30):
        drift.add("large", 1.5, readings)
    assert drift.by_subnet == ({"large": Drifted(1.5, 30)} if counts else {})


def test_a_few_requests_say_nothing() -> None:
    drift = Drift()
    for _ in range(29):
        drift.add("large", 1.5, QUIET)
    assert drift.by_subnet == {}


def test_a_corrected_profile_moves_each_subnet_by_its_own_and_the_others_alike(tiny: Path) -> None:
    profile = tiny_palette.profile(load(tiny).manifest)
    found = corrected(profile, {"large": Drifted(1.5, 40), "middle": Drifted(1.1, 30)})
    assert found.device.name == "here-corrected"
    assert "corrected by 70 requests" in found.method
    for before, after, ratio in zip(profile.subnets, found.subnets, (1.5, 1.1, 1.3), strict=True):
        for one, other in zip(before.latency, after.latency, strict=True):
            assert other.p50_ms == pytest.approx(one.p50_ms * ratio, rel=1e-3)
            assert other.high_ms == pytest.approx(one.high_ms * ratio, rel=1e-3)
        assert after.peak_mb == before.peak_mb


def test_a_session_writes_the_corrected_profile_beside_the_other(tiny: Path) -> None:
    """Real requests; the profile says that they take a hundred times as long."""
    palette = load(tiny)
    own = write_profile(palette, tiny_palette.profile(palette.manifest, name=device_name(), p50_ms=400.0)).read_bytes()
    rows = np.ones((1, 64), np.int64)
    with AdaptiveSession(tiny, sensors=FakeSensors([QUIET]), interval_s=0.01) as session:
        with pytest.raises(InputError, match="enough requests"):
            session.write_corrected_profile()
        while not session.drift:
            session.run(None, {"input_ids": rows, "attention_mask": rows})
        path = session.write_corrected_profile()
    assert path.name == f"{device_name()}-corrected.json"
    assert (path.parent / f"{device_name()}.json").read_bytes() == own
    found = choose_profile(load(tiny), f"{device_name()}-corrected")
    assert found is not None
    assert found.subnets[0].latency_at(64).p50_ms < 100.0
    chosen = choose_profile(load(tiny))
    assert chosen is not None
    assert chosen.device.name == device_name(), "what was measured is used until the other is named"


def test_without_a_profile_there_is_none_to_correct(tmp_path: Path) -> None:
    with (
        AdaptiveSession(tiny_palette.write(tmp_path / "palette")) as session,
        pytest.raises(InputError, match="none to correct"),
    ):
        session.write_corrected_profile()
