from __future__ import annotations

import pytest

from edgedistill.runtime.predict.heat import Heat, HeatTrend
from edgedistill.runtime.sensors import Readings


def after(temperatures: list[float], *, every_s: float = 1.0, own_limit_c: float | None = None) -> Heat:
    """Where things stand after these temperatures, with a kernel's limit of 85 °C."""
    trend = HeatTrend(own_limit_c)
    found = [
        trend.add(place * every_s, Readings(temperature_c=c, temperature_limit_c=85.0))
        for place, c in enumerate(temperatures)
    ]
    return found[-1]


@pytest.mark.parametrize(
    ("temperatures", "hot", "warm"),
    [
        ([60.0] * 20, False, False),
        ([79.0] * 20, False, False),
        ([81.0] * 20, False, True),
        ([86.0], True, True),
        ([60.0 + second for second in range(8)], False, True),  # 67, and 82 in 15 s
        ([65.0 + second for second in range(8)], True, True),  # 72, and 87 in 15 s
        ([84.0 - second for second in range(8)], False, False),  # on its way down
        ([70.0, 71.0, 72.0], False, False),  # too short to make a trend
    ],
)
def test_where_it_goes_counts_as_well_as_where_it_is(temperatures: list[float], hot: bool, warm: bool) -> None:
    assert after(temperatures) == Heat(hot, warm)


def test_an_old_rise_is_forgotten() -> None:
    assert not after([50.0 + second for second in range(20)] + [69.0] * 25).warm


def test_a_limit_of_ones_own_takes_the_kernels_place() -> None:
    assert after([66.0] * 5, own_limit_c=65.0) == Heat(True, True)
    assert after([88.0] * 5, own_limit_c=100.0) == Heat(False, False)


def test_what_throttles_is_hot_whatever_the_thermometer_says() -> None:
    trend = HeatTrend()
    assert trend.add(0.0, Readings(throttled=True)) == Heat(True, True)
    assert trend.add(1.0, Readings(throttled=True, temperature_c=40.0, temperature_limit_c=85.0)).hot
    assert trend.add(2.0, Readings(throttled=False)) == Heat(False, False)


def test_without_sensors_nothing_is_hot() -> None:
    assert HeatTrend().add(0.0, Readings()) == Heat(False, False)
    assert HeatTrend().add(0.0, Readings(temperature_c=90.0)) == Heat(False, False)
