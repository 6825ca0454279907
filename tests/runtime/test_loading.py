from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from edgedistill.errors import LoadError
from edgedistill.runtime.loading import Loaded, Loader
from edgedistill.runtime.stopping import Worker
from edgedistill.testing import FakeClock


class Bench:
    """A loader whose loads end when told."""

    def __init__(self) -> None:
        self.clock, self.ended = FakeClock(), 0
        self.works: list[Callable[[], None]] = []
        self.loader = Loader(self.clock, self._end, self.works.append)

    def _end(self) -> None:
        self.ended += 1


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_load_is_under_way_until_it_is_polled(bench: Bench) -> None:
    bench.loader.start("large", lambda: "session")
    assert (bench.loader.names, bench.loader.is_free, bench.loader.poll()) == (["large"], False, None)
    bench.works.pop()()
    assert (bench.ended, bench.loader.is_busy) == (1, True)
    assert bench.loader.poll() == Loaded("large", "session", None)
    assert (bench.loader.names, bench.loader.is_free, bench.loader.poll()) == ([], True, None)


def test_an_error_is_told_by_the_poll(bench: Bench) -> None:
    error = LoadError("no such file")
    bench.loader.start("large", lambda: _raise(error))
    bench.works.pop()()
    assert bench.loader.poll() == Loaded("large", None, error)
    assert bench.ended == 1


def _raise(error: Exception) -> str:
    raise error


def test_one_that_overruns_is_told_once_and_one_more_may_run_beside_it(bench: Bench) -> None:
    for name in ("large", "middle"):
        bench.loader.start(name, lambda: "late", 5.0)
        bench.clock.sleep(5.1)
        found = bench.loader.poll()
        assert found is not None
        assert isinstance(found.error, LoadError)
        assert (bench.loader.poll(), bench.loader.is_busy) == (None, False)
    assert (bench.loader.is_free, bench.loader.names) == (False, ["large", "middle"])
    bench.works.pop(0)()
    assert bench.loader.poll() is None, "what came late is of no use"
    assert (bench.loader.is_free, bench.loader.names) == (True, ["middle"])


def test_where_no_thread_can_be_had_that_is_told() -> None:
    def refuse(_: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    loader = Loader(FakeClock(), lambda: None, refuse)
    loader.start("large", lambda: "session")
    found = loader.poll()
    assert found is not None
    assert isinstance(found.error, RuntimeError)
    assert loader.is_free


def test_by_itself_it_loads_in_a_thread_that_can_be_waited_for() -> None:
    done, here = threading.Event(), threading.get_ident()
    loader = Loader(FakeClock(), done.set, Worker)
    loader.start("large", threading.get_ident)
    assert done.wait(20)
    found = loader.poll()
    assert found is not None
    assert found.result != here
    go_on = threading.Event()
    loader.start("small", go_on.wait)
    threading.Timer(0.1, go_on.set).start()
    loader.close(20)
    assert go_on.is_set()
