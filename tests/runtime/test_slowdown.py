from __future__ import annotations

import threading

import pytest

from edgedistill.runtime.slowdown import Size, Slowdown
from edgedistill.testing import FakeClock

ONE = Size(1, 64)


def test_the_high_quantile_of_recent_ratios() -> None:
    clock = FakeClock()
    slowdown = Slowdown(clock=clock)
    for ratio in range(10):
        slowdown.add(clock(), float(ratio), ONE)
    assert slowdown.high() == 9.0
    for _ in range(90):
        slowdown.add(clock(), 1.0, ONE)
    assert slowdown.high() == 1.0


def test_too_few_say_nothing() -> None:
    clock = FakeClock()
    slowdown = Slowdown(clock=clock)
    for _ in range(4):
        slowdown.add(clock(), 2.0, ONE)
    slowdown.add(clock(), None, ONE)
    assert slowdown.high() is None
    slowdown.add(clock(), 2.0, ONE)
    assert slowdown.high() == 2.0


def test_what_is_old_is_forgotten() -> None:
    clock = FakeClock()
    slowdown = Slowdown(clock=clock, window_s=3.0)
    for _ in range(10):
        slowdown.add(clock(), 5.0, ONE)
    clock.sleep(2.0)
    for _ in range(10):
        slowdown.add(clock(), 1.0, ONE)
    assert slowdown.high() == 5.0
    clock.sleep(1.5)
    assert slowdown.high() == 1.0
    clock.sleep(2.0)
    assert slowdown.high() is None
    assert slowdown.size() is None


def test_the_newest_stay_when_there_are_too_many() -> None:
    clock = FakeClock()
    slowdown = Slowdown(clock=clock, most=20)
    for ratio in (9.0,) * 20 + (1.0,) * 20:
        slowdown.add(clock(), ratio, ONE)
    assert slowdown.high() == 1.0


@pytest.mark.parametrize(
    ("sizes", "size"),
    [([Size(1, 10)] * 9 + [Size(1, 100)], Size(1, 100)), ([Size(1, 10)] * 19 + [Size(8, 100)], Size(1, 10))],
)
def test_the_size_in_use_covers_nine_of_ten(sizes: list[Size], size: Size) -> None:
    slowdown = Slowdown(clock=FakeClock())
    for each in sizes:
        slowdown.add(0.0, 1.0, each)
    assert slowdown.size() == size


def test_it_may_be_read_while_it_grows() -> None:
    slowdown = Slowdown(clock=FakeClock(), most=64)
    errors: list[Exception] = []

    def read() -> None:
        try:
            for _ in range(300):
                slowdown.high()
        except Exception as error:
            errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    while reader.is_alive():
        slowdown.add(0.0, 1.0, ONE)
    reader.join()
    assert errors == []
