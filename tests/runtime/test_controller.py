from __future__ import annotations

import logging
from pathlib import Path

import pytest
import tiny_palette

from edgedistill.errors import LoadError, SessionClosed
from edgedistill.manifest import Manifest, load
from edgedistill.runtime import controller as module
from edgedistill.runtime.controller import Controller
from edgedistill.runtime.costs import ProfileCosts
from edgedistill.runtime.selector import Policy, Reason
from edgedistill.runtime.sensors import Readings
from edgedistill.runtime.slowdown import Size
from edgedistill.testing import FakeClock, FakeSensors, FakeSessions

SIZE = Size(1, 64)
# Quiet medians at that size, as the profile has them.
QUIET_MS = {"large": 4.0, "middle": 2.0, "small": 1.0}


class Bench:
    """A controller with its surroundings, moved on by hand."""

    def __init__(self, manifest: Manifest, **policy: float) -> None:
        self.clock = FakeClock(100.0)
        self.sensors = FakeSensors([Readings(other_load=0.0, free_mb=1e4)])
        self.sessions = FakeSessions(QUIET_MS, sleep=self.clock.sleep)
        self.controller = Controller(
            create=self.sessions,
            costs=ProfileCosts(manifest, tiny_palette.profile(manifest)),
            sensors=self.sensors,
            policy=Policy(**({"max_latency_ms": 6.0} | policy)),
            clock=self.clock,
            size=SIZE,
        )
        self.controller.step()

    def contention(self, factor: float) -> None:
        self.sessions.latency_ms = {name: ms * factor for name, ms in QUIET_MS.items()}

    def serve(self, seconds: float) -> list[str]:
        """Requests one after another for so long, a step every quarter of a second; what served, without repeats."""
        served: list[str] = [self.controller.active]
        end_s = self.clock() + seconds
        while self.clock() < end_s:
            step_s = self.clock() + 0.25
            while self.clock() < step_s:
                self.request()
                self.clock.sleep(0.01)
            self.controller.step()
            if self.controller.active != served[-1]:
                served.append(self.controller.active)
        return served

    def request(self) -> None:
        with self.controller.lease() as live:
            start_s = self.clock()
            live.session.run(None, {})
        self.controller.observe(live.name, SIZE, (self.clock() - start_s) * 1e3)

    @property
    def reasons(self) -> list[tuple[str, Reason]]:
        return [(record.subnet, record.reason) for record in self.controller.decisions]


@pytest.fixture
def manifest(tiny: Path) -> Manifest:
    return load(tiny).manifest


@pytest.fixture
def bench(manifest: Manifest) -> Bench:
    return Bench(manifest)


def test_the_best_serves_and_stays_on_a_quiet_machine(bench: Bench) -> None:
    assert bench.serve(5.0) == ["large"]
    assert bench.reasons == [("large", Reason.FIRST), ("large", Reason.KEEP)]
    assert bench.controller.swaps == 0
    assert bench.sessions.tried == ["large"]


def test_contention_moves_it_down_and_its_end_moves_it_up(bench: Bench) -> None:
    bench.serve(2.0)
    bench.contention(2.5)  # 10 ms, 5 ms, 2.5 ms
    assert bench.serve(5.0) == ["large", "middle"]
    assert ("middle", Reason.TOO_SLOW) in bench.reasons
    bench.contention(1.0)
    assert bench.serve(8.0) == ["middle", "large"]
    assert ("large", Reason.BETTER_FITS) in bench.reasons
    assert bench.controller.swaps == 2


def test_it_is_slower_up_than_down(bench: Bench) -> None:
    bench.serve(10.0)
    start_s = bench.clock()
    bench.contention(2.5)
    while bench.controller.active == "large":
        bench.serve(0.1)
    down_s = bench.clock() - start_s
    bench.serve(10.0)
    start_s = bench.clock()
    bench.contention(1.0)
    while bench.controller.active == "middle":
        bench.serve(0.1)
    assert down_s < 1.0
    assert bench.clock() - start_s > 2 * down_s


def test_two_changes_are_apart_by_the_dwell(manifest: Manifest) -> None:
    bench = Bench(manifest, dwell_s=2.0)
    bench.serve(0.5)
    bench.contention(2.5)
    assert bench.serve(1.0) == ["large"]
    assert bench.reasons[-1] == ("large", Reason.DWELL)
    assert bench.serve(1.0) == ["large", "middle"]


def test_what_one_subnet_showed_holds_for_the_next(bench: Bench) -> None:
    """After a swap the ratio seen before still counts: no climb back on an empty memory."""
    bench.contention(2.5)
    bench.serve(3.0)
    record = bench.controller.decisions[-1]
    assert record.slowdown == pytest.approx(2.5)
    assert bench.controller.active == "middle"


def test_no_fit_the_smallest_serves_and_says_so(manifest: Manifest, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        bench = Bench(manifest, max_latency_ms=0.5)
        bench.serve(3.0)
    assert bench.reasons == [("small", Reason.NO_FIT_SMALLEST)]
    assert [r.getMessage() for r in caplog.records] == ["no subnet meets the budgets: the smallest, small, serves"]


def test_a_lack_of_memory_does_not_wait(bench: Bench) -> None:
    bench.sensors.then(Readings(free_mb=20.0))
    bench.controller.step()
    assert bench.controller.active == "middle"
    assert bench.reasons[-1] == ("middle", Reason.LOW_MEMORY)
    assert bench.controller.decisions[-1].readings.free_mb == 20.0


def test_a_load_that_fails_keeps_the_old_one_and_backs_off(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.sessions.fail("middle")
    bench.sessions.fail("small")
    bench.contention(2.5)
    with caplog.at_level(logging.WARNING):
        assert bench.serve(40.0) == ["large"]
    assert ("middle", Reason.LOAD_FAILED) in bench.reasons
    # Tried after 1, 2, 4, 8, 16 seconds: far from every quarter of a second.
    assert 4 <= bench.sessions.tried.count("middle") <= 6
    warnings = [r.getMessage() for r in caplog.records if "middle could not be loaded" in r.getMessage()]
    assert len(warnings) == 1


def test_while_one_cannot_be_loaded_the_next_best_serves(bench: Bench) -> None:
    bench.sessions.fail("middle", times=1)
    bench.contention(2.5)
    assert bench.serve(8.0) == ["large", "small", "middle"]


def test_a_first_load_that_fails_is_told(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: FakeSessions, subnet: str) -> None:
        raise LoadError("cannot be loaded")

    monkeypatch.setattr(FakeSessions, "__call__", refuse)
    with pytest.raises(LoadError):
        Bench(manifest)


def test_a_pin_overrules_until_it_is_released(bench: Bench) -> None:
    bench.controller.pin("small")
    assert bench.serve(5.0) == ["large", "small"]
    assert bench.reasons[-1] == ("small", Reason.PINNED)
    bench.controller.pin(None)
    assert bench.serve(5.0) == ["small", "large"]


def test_a_pinned_subnet_that_cannot_be_loaded_is_tried_later(bench: Bench) -> None:
    bench.sessions.fail("small", times=1)
    bench.controller.pin("small")
    bench.controller.step()
    assert bench.controller.active == "large"
    bench.controller.step()
    assert bench.sessions.tried == ["large", "small"]
    assert bench.serve(2.0) == ["large", "small"]


def test_a_request_ends_on_the_session_it_started_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    given_back: list[str] = []
    monkeypatch.setattr(module, "give_back_memory", lambda: given_back.append(bench.controller.active))
    with bench.controller.lease() as live:
        bench.controller.pin("small")
        bench.controller.step()
        assert bench.controller.active == "small"
        assert live.session.run(None, {})[0] == ["large"]
        bench.controller.step()
        assert given_back == []
    assert given_back == [], "not in the request"
    bench.controller.step()
    assert given_back == ["small"]


def test_requests_beside_a_load_are_not_held_against_the_machine(bench: Bench) -> None:
    bench.serve(3.0)
    create = bench.controller._create

    def slow_create(subnet: str) -> object:
        bench.contention(9.0)
        for _ in range(50):
            bench.request()
        bench.contention(1.0)
        return create(subnet)

    bench.controller._create = slow_create  # type: ignore[assignment]
    bench.controller.pin("middle")
    bench.controller.step()
    bench.controller.pin(None)
    bench.controller.step()
    slowdown = bench.controller.decisions[-1].slowdown
    assert slowdown is None or slowdown < 1.5


def test_after_close_nothing_answers(bench: Bench) -> None:
    bench.controller.close()
    bench.controller.close()
    with pytest.raises(SessionClosed), bench.controller.lease():
        pass
    with pytest.raises(SessionClosed):
        _ = bench.controller.active
