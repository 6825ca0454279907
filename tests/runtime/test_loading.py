from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from edgedistill.errors import LoadError
from edgedistill.runtime.loading import Loader, in_background
from edgedistill.testing import FakeClock


class Bench:
    """A loader whose loads end when told."""

    def __init__(self) -> None:
        self.clock, self.ended = FakeClock(), 0
        self.works: list[Callable[[], None]] = []
        self.loader: Loader[str] = Loader(self.clock, self._end, self.works.append)

    def _end(self) -> None:
        self.ended += 1


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_load_is_under_way_until_it_is_polled(bench: Bench) -> None:
    bench.loader.start("large", lambda: "session")
    assert (bench.loader.loading, bench.loader.poll(5.0)) == ("large", None)
    bench.clock.sleep(2.0)
    assert bench.loader.since_s() == 2.0
    bench.works.pop()()
    assert (bench.ended, bench.loader.loading) == (1, "large")
    assert bench.loader.poll(5.0) == ("large", "session")
    assert (bench.loader.loading, bench.loader.poll(5.0), bench.loader.since_s()) == (None, None, 0.0)


def test_an_error_is_told_by_the_poll(bench: Bench) -> None:
    error = LoadError("no such file")
    bench.loader.start("large", lambda: _raise(error))
    bench.works.pop()()
    assert bench.loader.poll(5.0) == ("large", error)
    assert bench.ended == 1


def _raise(error: Exception) -> str:
    raise error


def test_one_that_takes_too_long_is_given_up(bench: Bench) -> None:
    bench.loader.start("large", lambda: "late")
    bench.clock.sleep(5.1)
    found = bench.loader.poll(5.0)
    assert found is not None
    assert isinstance(found[1], LoadError)
    bench.loader.start("small", lambda: "session")
    bench.works.pop(0)()
    assert bench.loader.poll(5.0) is None, "what came late is of no use"
    bench.works.pop()()
    assert bench.loader.poll(5.0) == ("small", "session")


def test_an_abandoned_load_brings_nothing(bench: Bench) -> None:
    bench.loader.start("large", lambda: "session")
    bench.loader.abandon()
    bench.works.pop()()
    assert (bench.loader.loading, bench.loader.poll(5.0)) == (None, None)


def test_by_itself_it_loads_in_a_thread() -> None:
    done, here = threading.Event(), threading.get_ident()
    loader: Loader[int] = Loader(FakeClock(), done.set, in_background)
    loader.start("large", threading.get_ident)
    assert done.wait(20)
    found = loader.poll(5.0)
    assert found is not None
    assert found[1] != here
