from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waiting import wait_until

from edgedistill.errors import InputError
from edgedistill.palette import Palette
from edgedistill.runtime import AdaptiveSession, Policy, Readings, Reason, SensorLimit, SystemSensors
from edgedistill.runtime.control.decide import State, decide
from edgedistill.runtime.limits import LimitReading, UnreadLimits, read_limits
from edgedistill.runtime.predict.candidates import Candidate
from edgedistill.testing import FakeSensors, FakeSessions

LARGE = Candidate("large", 0.9, 100.0, 8.0, 10.0)
MIDDLE = Candidate("middle", 0.8, 50.0, 4.0, 5.0)
SMALL = Candidate("small", 0.7, 25.0, 2.0, 2.5)
ALL = [SMALL, LARGE, MIDDLE]
FAN = SensorLimit("fan_rpm", below=500)
QUEUE = SensorLimit("queue", above=20, margin=5, dwell_s=2.0)


@pytest.mark.parametrize(
    ("limit", "value", "is_crossed", "is_near", "text"),
    [
        (FAN, 499.9, True, True, "fan_rpm 499.9, limit below 500"),
        (FAN, 500.0, False, True, "fan_rpm 500, limit below 500"),
        (FAN, 549.0, False, True, "fan_rpm 549, limit below 500"),
        (FAN, 550.0, False, False, "fan_rpm 550, limit below 500"),
        (QUEUE, 21.0, True, True, "queue 21, limit above 20"),
        (QUEUE, 20.0, False, True, "queue 20, limit above 20"),
        (QUEUE, 15.0, False, False, "queue 15, limit above 20"),
        (SensorLimit("celsius", below=-20), -17.0, False, False, "celsius -17, limit below -20"),
        (SensorLimit("celsius", below=-20), -19.0, False, True, "celsius -19, limit below -20"),
        (SensorLimit("balance", above=0), 0.1, True, True, "balance 0.1, limit above 0"),
        (SensorLimit("balance", above=0), 0.0, False, False, "balance 0, limit above 0"),
        (FAN, None, False, False, "fan_rpm no reading, limit below 500"),
    ],
)
def test_what_a_reading_means(
    limit: SensorLimit, value: float | None, is_crossed: bool, is_near: bool, text: str
) -> None:
    reading = LimitReading(limit, value)
    assert (reading.is_crossed, reading.is_near, str(reading)) == (is_crossed, is_near, text)


@pytest.mark.parametrize(
    ("readings", "sensor", "value"),
    [
        (Readings(extra={"fan_rpm": 430.0}), "fan_rpm", 430.0),
        (Readings(extra={"fan_rpm": np.float32(0.5)}), "fan_rpm", 0.5),
        (Readings(extra={"fan_rpm": 430}), "fan_rpm", 430.0),
        (Readings(), "fan_rpm", None),
        (Readings(extra={"fan_rpm": math.nan}), "fan_rpm", None),
        (Readings(extra={"fan_rpm": math.inf}), "fan_rpm", None),
        (Readings(extra={"fan_rpm": "fast"}), "fan_rpm", None),  # type: ignore[dict-item]
        (Readings(extra={"fan_rpm": 10**400}), "fan_rpm", None),
        (Readings(battery_share=0.15), "battery_share", 0.15),
        (Readings(on_battery=True), "on_battery", 1.0),
        (Readings(on_battery=False), "on_battery", 0.0),
        (Readings(), "on_battery", None),
    ],
)
def test_which_readings_count(readings: Readings, sensor: str, value: float | None) -> None:
    assert read_limits([SensorLimit(sensor, below=0.6)], readings)[0].value == value


@pytest.mark.parametrize(
    ("active", "served_s", "extra", "expected"),
    [
        # As heat does: a subnet that is clearly lighter, once the active one has served for the limit's dwell time.
        ("large", 10.0, {"fan_rpm": 430.0}, ("middle", Reason.SENSOR_LIMIT)),
        ("large", 9.0, {"fan_rpm": 430.0}, ("large", Reason.KEEP)),
        ("middle", 10.0, {"fan_rpm": 430.0}, ("small", Reason.SENSOR_LIMIT)),
        ("small", 10.0, {"fan_rpm": 430.0}, ("small", Reason.NO_FIT_SMALLEST)),
        ("large", 2.0, {"queue": 21.0}, ("middle", Reason.SENSOR_LIMIT)),
        ("large", 1.9, {"queue": 21.0}, ("large", Reason.KEEP)),
        # Near the limit nothing is changed in either direction.
        ("large", 99.0, {"fan_rpm": 510.0}, ("large", Reason.KEEP)),
        ("middle", 99.0, {"fan_rpm": 510.0}, ("middle", Reason.KEEP)),
        ("middle", 99.0, {"fan_rpm": 550.0}, ("large", Reason.BETTER_FITS)),
        # One limit is enough; a sensor without a reading is left out.
        ("middle", 99.0, {"fan_rpm": 900.0, "queue": 16.0}, ("middle", Reason.KEEP)),
        ("middle", 99.0, {"fan_rpm": math.nan, "queue": 3.0}, ("large", Reason.BETTER_FITS)),
        ("middle", 99.0, {}, ("large", Reason.BETTER_FITS)),
    ],
)
def test_which_subnet_serves(
    active: str, served_s: float, extra: dict[str, float], expected: tuple[str, Reason]
) -> None:
    policy = Policy(dwell_s=1.0, up_dwell_s=3.0, limits=(FAN, QUEUE))
    state = State(active, 100.0 - served_s, None, frozenset({active, "small"}))
    decision = decide(ALL, Readings(extra=extra), state, policy, 100.0)
    assert (decision.subnet, decision.reason) == expected
    assert [reading.limit for reading in decision.limits] == [FAN, QUEUE]


def test_a_subnet_without_figures_is_not_judged_by_its_weight() -> None:
    unknown = [replace(subnet, p50_ms=None, p95_ms=None) for subnet in ALL]
    policy, readings = Policy(limits=[FAN]), Readings(extra={"fan_rpm": 1.0})
    assert decide(unknown, readings, State("large"), policy, 99.0).reason is Reason.KEEP


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "has no below and above; expected one of them"),
        ({"below": 1, "above": 2}, "has both below and above; expected one of them, so give two limits"),
        ({"below": math.nan}, "below of the limit of 'fan' is nan; expected a finite number"),
        ({"above": math.inf}, "above of the limit of 'fan' is inf"),
        ({"above": "20"}, "above of the limit of 'fan' is '20'"),
        ({"above": True}, "above of the limit of 'fan' is True"),
        ({"below": 1, "margin": -1}, "margin of the limit of 'fan' is -1; expected zero or more"),
        ({"below": 1, "margin": math.nan}, "margin of the limit of 'fan' is nan"),
        ({"below": 1, "dwell_s": -0.1}, "dwell_s of the limit of 'fan' is -0.1"),
        ({"below": 1, "dwell_s": None}, "dwell_s of the limit of 'fan' is None"),
        ({"sensor": "", "below": 1}, "sensor is ''; expected the name of a sensor"),
        ({"sensor": 3, "below": 1}, "sensor is 3; expected the name of a sensor"),
        ({"sensor": "power_mode", "below": 1}, "sensor is 'power_mode', which is not a number"),
        ({"sensor": "battery_share", "below": 20}, "below of the limit of 'battery_share' is 20; expected a share"),
        ({"sensor": "other_load", "above": 1}, "'other_load' above 1 never happens"),
        ({"sensor": "on_battery", "below": 0}, "'on_battery' below 0 never happens"),
    ],
)
def test_an_impossible_limit_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SensorLimit(**({"sensor": "fan"} | options))


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ((SensorLimit("q", above=20), SensorLimit("q", below=30)), r"'q' \(below 30, above 20, .* leave no reading"),
        ((SensorLimit("q", above=20), SensorLimit("q", below=19)), "leave no reading"),  # 20.9 and 18 with margins
        (FAN, "limits is SensorLimit.*expected a sequence"),
        ("fan_rpm", "limits is 'fan_rpm'; expected a sequence"),
        (None, "limits is None; expected a sequence"),
        ([("fan_rpm", 500)], r"limits holds \('fan_rpm', 500\); expected SensorLimit objects"),
    ],
)
def test_limits_of_a_policy_that_cannot_be_kept_are_refused(limits: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Policy(limits=limits)


def test_limits_of_a_policy() -> None:
    both = [SensorLimit("q", above=20, margin=0), SensorLimit("q", below=20, margin=0)]
    assert Policy(limits=both).limits == tuple(both), "only 20 itself keeps both"
    assert hash(Policy(limits=both)) == hash(Policy(limits=tuple(both)))


def test_a_sensor_that_does_not_exist_is_refused(tiny: Path) -> None:
    policy = Policy(limits=(FAN,))
    with pytest.raises(InputError, match=r"names the sensor 'fan_rpm', which does not exist \(own sensors: none\)"):
        AdaptiveSession(tiny, policy=policy)
    with pytest.raises(InputError, match=r"own sensors: fan_rmp\); give it with sensors=SystemSensors\(extra="):
        AdaptiveSession(tiny, policy=policy, sensors=SystemSensors(extra={"fan_rmp": lambda: 1.0}))


@pytest.mark.parametrize(
    ("bad", "line"),
    [
        (Readings(), "the sensor fan_rpm has no reading: its limit is left out while that lasts"),
        (
            Readings(extra={"fan_rpm": math.nan}),
            "the sensor fan_rpm reads nan, which is not a finite number: its limit",
        ),
    ],
)
def test_a_sensor_that_is_left_out_is_logged_once(bad: Readings, line: str, caplog: pytest.LogCaptureFixture) -> None:
    unread = UnreadLimits([FAN, FAN], FakeSensors())
    with caplog.at_level(logging.WARNING):
        for readings in (Readings(extra={"fan_rpm": 900.0}), bad, bad, Readings(extra={"fan_rpm": 900.0}), bad):
            unread.look(readings)
    assert len(caplog.records) == 1
    assert caplog.records[0].getMessage().startswith(line)


def test_a_sensor_of_the_machine_that_fails_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def read_fan() -> float:
        raise OSError("no such bus")

    sensors = SystemSensors(tmp_path, extra={"fan_rpm": read_fan})
    unread = UnreadLimits([FAN, SensorLimit("battery_share", below=0.2)], sensors)
    with caplog.at_level(logging.WARNING):
        wait_until(lambda: not unread.look(sensors.read()) and "bus" in caplog.text)
        unread.look(sensors.read())
    messages = [record.getMessage() for record in caplog.records]
    assert sum("fan_rpm" in message for message in messages) == 1
    assert sum("battery_share" in message for message in messages) == 1


def test_a_session_follows_an_applications_own_sensor(profiled: Callable[..., Palette]) -> None:
    palette = profiled({"name": "board"})
    sensors = FakeSensors(extra={"fan_rpm": 2000.0})
    policy = Policy(limits=[replace(FAN, dwell_s=0.05)], dwell_s=0.01, up_dwell_s=0.01)
    options: dict[str, Any] = {"profile": "board", "create": FakeSessions(), "interval_s": 0.01}
    with AdaptiveSession(palette, policy=policy, sensors=sensors, **options) as session:
        assert session.active == "large"
        assert "  fan_rpm 2000, limit below 500: kept" in session.explain().splitlines()
        wait_until(lambda: session.fallback is not None)
        assert (session.fallback, session.resident) == ("small", ("large", "small"))
        sensors.extra["fan_rpm"] = 430.0
        wait_until(lambda: session.active == "small")
        assert session.resident == ("small",)
        crossed = [record for record in session.decisions if record.reason is Reason.SENSOR_LIMIT]
        assert [record.subnet for record in crossed] == ["middle", "small"]
        assert str(crossed[0]).startswith("middle: sensor-limit (fan_rpm 430, limit below 500)\n")
        assert "large: p95 5.0 ms, 100 MB: sensor-limit" in str(crossed[0])
        sensors.extra["fan_rpm"] = 510.0
        wait_until(lambda: "fan_rpm 510, limit below 500: near" in session.explain())
        assert session.active == "small"
    assert (session.fallback, session.resident) == (None, ())
