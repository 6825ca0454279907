from __future__ import annotations

import math
import random
import threading

import pytest

from edgedistill.runtime.predict.slowdown import Estimate, Size, Slowdown

ONE = Size(1, 64)


def follow(ratios: list[float], *, every_s: float = 0.02, seed: int = 0, scatter: float = 0.0) -> Estimate:
    """What is known after these ratios, one every so often, each with a little of its own."""
    rng, slowdown = random.Random(seed), Slowdown()
    for place, ratio in enumerate(ratios):
        slowdown.add(place * every_s, ratio * math.exp(rng.gauss(0, scatter)), ONE)
    found = slowdown.estimate((len(ratios) - 1) * every_s)
    assert found is not None
    return found


def test_it_settles_on_what_is_seen() -> None:
    assert follow([2.5] * 30).usual == pytest.approx(2.5, rel=0.01)
    assert follow([1.0] * 100, scatter=0.1).usual == pytest.approx(1.0, rel=0.1)


def test_one_request_moves_it_and_three_that_surprise_are_believed() -> None:
    usual = [follow([1.0] * 50 + [3.0] * more).usual for more in range(4)]
    assert usual[0] == pytest.approx(1.0, rel=0.01)
    assert 1.02 < usual[1] < 1.6, "it may be an outlier"
    assert usual[3] > 2.5
    assert follow([3.0] * 50 + [1.0] * 3).usual < 1.2, "down as fast as up"


@pytest.mark.parametrize(("loads", "usual"), [((0.1, 0.8), 3.0), ((0.8, 0.8), 1.0), ((0.8, 0.1), 1.0)])
def test_one_request_is_believed_where_the_load_of_others_jumped_to_its_side(
    loads: tuple[float, float], usual: float
) -> None:
    slowdown = Slowdown()
    for place in range(50):
        slowdown.add(0.1 * place, 1.0, ONE)
    slowdown.look(4.0, loads[0])
    slowdown.look(5.0, loads[1])
    slowdown.add(5.1, 3.0, ONE)
    found = slowdown.estimate(5.1)
    assert found is not None
    assert found.usual == pytest.approx(usual, rel=0.35)


def test_a_jump_of_long_ago_confirms_nothing() -> None:
    slowdown = Slowdown()
    slowdown.look(0.0, 0.1)
    for place in range(60):
        slowdown.add(0.1 * place, 1.0, ONE)
        slowdown.look(0.1 * place, 0.8)
    slowdown.add(6.0, 3.0, ONE)
    found = slowdown.estimate(6.0)
    assert found is not None
    assert found.usual < 1.6


def test_an_outlier_now_and_then_is_none_of_the_machines() -> None:
    assert follow(([1.0] * 19 + [8.0]) * 10 + [1.0] * 5, scatter=0.05).usual == pytest.approx(1.0, rel=0.15)


def test_the_tail_is_that_of_single_requests() -> None:
    assert follow([1.0] * 10, scatter=0.2).tail is None, "too few"
    tails = [follow([1.0] * 300, scatter=0.2, seed=seed).tail or 0.0 for seed in range(20)]
    assert sum(tails) / len(tails) == pytest.approx(math.exp(1.645 * 0.2), rel=0.1)


def test_it_grows_unsure_with_time_and_forgets() -> None:
    slowdown = Slowdown()
    for place in range(50):
        slowdown.add(place * 0.02, 2.0, ONE)
    sigmas = [found.sigma for wait_s in (0.0, 1.0, 2.0) if (found := slowdown.estimate(1.0 + wait_s)) is not None]
    assert sigmas == sorted(set(sigmas))
    assert slowdown.estimate(122.0) is None
    assert slowdown.size(5.0) is None


def test_spikes_are_the_requests_own_and_make_the_tail() -> None:
    """Every seventh request takes three times as long: no new state, and a 95th percentile of three."""
    found = follow(([3.0] + [1.0] * 6) * 40, scatter=0.03)
    assert found.usual == pytest.approx(1.0, rel=0.15)
    assert found.tail == pytest.approx(3.0, rel=0.2)


def test_what_changed_in_a_pause_is_no_scatter() -> None:
    slowdown = Slowdown()
    for place in range(40):
        slowdown.add(600.0 * place, (1.0, 2.5)[place % 2], ONE)
    for place in range(100):
        slowdown.add(24_000.0 + 0.02 * place, 1.0, ONE)
    found = slowdown.estimate(24_002.0)
    assert found is not None
    assert (found.tail or 1.0) < 1.1


def test_a_ratio_that_is_no_number_is_none() -> None:
    slowdown = Slowdown()
    for ratio in (math.inf, math.nan, 0.0, -1.0):
        slowdown.add(0.0, ratio, ONE)
    assert slowdown.estimate(0.0) is None


def test_confidence_widens_what_is_unsure() -> None:
    unsure = Estimate(2.0, None, 0.1)
    assert unsure.at(0.5) == pytest.approx(2.0)
    assert unsure.at(0.9) == pytest.approx(2.0 * math.exp(1.2816 * 0.1), rel=1e-3)


def test_without_an_expectation_only_the_size_is_known() -> None:
    slowdown = Slowdown()
    slowdown.add(0.0, None, Size(2, 10))
    assert slowdown.estimate(0.0) is None
    assert slowdown.size(0.0) == Size(2, 10)


@pytest.mark.parametrize(
    ("sizes", "size"),
    [([Size(1, 10)] * 9 + [Size(1, 100)], Size(1, 100)), ([Size(1, 10)] * 19 + [Size(8, 100)], Size(1, 10))],
)
def test_the_size_in_use_covers_nine_of_ten(sizes: list[Size], size: Size) -> None:
    slowdown = Slowdown()
    for each in sizes:
        slowdown.add(0.0, 1.0, each)
    assert slowdown.size(0.0) == size


def test_it_may_be_read_while_it_grows() -> None:
    slowdown = Slowdown()
    errors: list[Exception] = []

    def read() -> None:
        try:
            for _ in range(300):
                slowdown.estimate(0.0)
                slowdown.size(0.0)
        except Exception as error:
            errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    while reader.is_alive():
        slowdown.add(0.0, 1.0, ONE)
    reader.join()
    assert errors == []
