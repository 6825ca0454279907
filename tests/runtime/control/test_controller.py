from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_palette
from waiting import wait_until

from edgedistill.errors import LoadError, SessionClosed
from edgedistill.palette import Manifest, load
from edgedistill.runtime import residents
from edgedistill.runtime.control.controller import Controller
from edgedistill.runtime.control.decide import Policy, Reason
from edgedistill.runtime.limits import SensorLimit
from edgedistill.runtime.predict.costs import ProfileCosts
from edgedistill.runtime.predict.slowdown import Size
from edgedistill.runtime.sensors import Readings
from edgedistill.runtime.sessions import SessionState
from edgedistill.runtime.source import Source
from edgedistill.testing import FakeClock, FakeSensors, FakeSessions

SIZE = Size(1, 64)
# Quiet medians at that size, and megabytes, as the profile has them.
QUIET_MS = {"large": 4.0, "middle": 2.0, "small": 1.0}
MEMORY_MB = {"large": 100.0, "middle": 50.0, "small": 25.0}


class Bench:
    """A controller with its surroundings, moved on by hand; loads run at once, unless they are collected."""

    def __init__(self, manifest: Manifest, *, collect_loads: bool = False, **policy: Any) -> None:
        self.clock = FakeClock(100.0)
        self.sensors = FakeSensors([Readings(other_load=0.0, free_mb=1e4)])
        self.sessions = FakeSessions(QUIET_MS, sleep=self.clock.sleep)
        self.loads: list[Callable[[], None]] = []
        self.told: list[tuple[str, Reason]] = []
        self.controller = Controller(
            source=Source(ProfileCosts(manifest, tiny_palette.profile(manifest)), self.sessions),
            sensors=self.sensors,
            policy=Policy(**({"max_latency_ms": 6.0} | policy)),
            clock=self.clock,
            size=SIZE,
            listener=lambda record: self.told.append((record.subnet, record.reason)),
            spawn=self.loads.append if collect_loads else lambda work: work(),
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

    def request(self) -> str:
        with self.controller.lease() as live:
            start_s = self.clock()
            live.session.run(None, {})
        self.controller.observe(self.clock(), live, SIZE, (self.clock() - start_s) * 1e3)
        return live.name

    def steps(self, seconds: float) -> None:
        """A step every quarter of a second, and no request."""
        for _ in range(round(seconds / 0.25)):
            self.clock.sleep(0.25)
            self.controller.step()

    def loaded(self) -> None:
        """Let the loads that were begun end."""
        for work in self.loads:
            work()
        self.loads.clear()
        self.controller.step()

    @property
    def reasons(self) -> list[tuple[str, Reason]]:
        return [(record.subnet, record.reason) for record in self.controller.decisions.listed]


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
    assert bench.sessions.tried == ["large", "small"], "the safety net, once"


def test_contention_moves_it_down_and_its_end_moves_it_up(bench: Bench) -> None:
    bench.serve(2.0)
    bench.contention(2.5)  # 10 ms, 5 ms, 2.5 ms
    assert bench.serve(5.0)[-1] == "middle"
    assert ("middle", Reason.TOO_SLOW) in bench.reasons
    bench.contention(1.0)
    assert bench.serve(8.0) == ["middle", "large"]
    assert ("large", Reason.BETTER_FITS) in bench.reasons


def test_requests_over_the_budget_do_not_wait_for_the_next_look_at_the_machine(bench: Bench) -> None:
    bench.serve(10.0)
    bench.controller.start(interval_s=3600.0)
    bench.contention(3.0)
    for _ in range(3):
        assert bench.request() == "large"
    wait_until(lambda: bench.controller.active != "large")
    bench.controller.close()


def test_where_no_step_helps_late_requests_call_for_one_only(manifest: Manifest) -> None:
    bench = Bench(manifest, max_latency_ms=0.1)
    looks: list[Readings] = []
    monitored = bench.sensors.read
    bench.sensors.read = lambda: looks.append(monitored()) or looks[-1]  # type: ignore[method-assign,func-returns-value]
    bench.controller.start(interval_s=3600.0)
    for _ in range(300):
        assert bench.request() == "small"
    wait_until(lambda: len(looks) == 1)
    time.sleep(0.1)
    assert len(looks) == 1
    bench.controller.close()


def test_the_smallest_takes_over_until_the_right_one_is_loaded(manifest: Manifest) -> None:
    bench = Bench(manifest, collect_loads=True)
    bench.steps(1.0)
    bench.loaded()
    bench.serve(1.0)
    bench.contention(2.5)
    bench.serve(1.0)
    assert (bench.controller.active, bench.controller.swaps) == ("small", 1)
    assert bench.told[-3:] == [("middle", Reason.TOO_SLOW), ("small", Reason.BRIDGE), ("middle", Reason.LOADING)]
    bench.loaded()
    assert bench.controller.active == "middle"
    assert bench.sessions.tried == ["large", "small", "middle"]


def test_a_load_that_hangs_holds_up_no_decision(manifest: Manifest, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(manifest, collect_loads=True)
    bench.steps(1.0)
    bench.loaded()
    bench.controller.pin("middle")
    with caplog.at_level(logging.WARNING):
        bench.steps(61.0)
    assert bench.controller.active == "large"
    assert "takes over 60 s" in caplog.text
    hung = bench.loads[:1]
    bench.controller.pin(None)
    bench.steps(1.0)
    hung[0]()
    bench.steps(1.0)
    assert bench.controller.active == "large", "what an abandoned load brings is dropped"


def test_it_is_slower_up_than_down(bench: Bench) -> None:
    bench.serve(10.0)
    start_s = bench.clock()
    bench.contention(2.5)
    while bench.controller.active == "large":
        bench.serve(0.1)
    down_s = bench.clock() - start_s
    start_s = bench.clock()
    bench.contention(1.0)
    while bench.controller.active != "large":
        bench.serve(0.1)
    assert down_s < 0.6
    assert bench.clock() - start_s > 2.0


def test_two_changes_are_apart_by_the_dwell(manifest: Manifest) -> None:
    bench = Bench(manifest, dwell_s=2.0)
    bench.serve(0.5)
    bench.contention(2.5)
    assert bench.serve(1.0) == ["large"]
    assert bench.reasons[-1] == ("large", Reason.DWELL)
    assert bench.serve(1.0)[-1] == "middle"


def test_a_minute_has_only_so_many_swaps(manifest: Manifest) -> None:
    bench = Bench(manifest, max_swaps_per_minute=4, dwell_s=0.1, up_dwell_s=0.1)
    bench.serve(1.0)
    for _ in range(10):
        bench.contention(2.5)
        bench.serve(2.0)
        bench.contention(1.0)
        bench.serve(2.0)
    assert bench.controller.swaps <= 4 + 1, "a fall goes by way of the smallest"
    assert any(reason is Reason.SWAP_LIMIT for _, reason in bench.reasons)


def test_what_one_subnet_showed_holds_for_the_next(bench: Bench) -> None:
    """After a swap the ratio seen before still counts: no climb back on an empty memory."""
    bench.contention(2.5)
    bench.serve(3.0)
    slowdown = bench.controller.decisions.listed[-1].slowdown
    assert slowdown is not None
    assert slowdown.usual == pytest.approx(2.5, rel=0.05)
    assert bench.controller.active == "middle"


def test_no_fit_the_smallest_serves_and_says_so(manifest: Manifest, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        bench = Bench(manifest, max_latency_ms=0.5)
        bench.serve(3.0)
    assert bench.reasons == [("small", Reason.NO_FIT_SMALLEST)]
    assert [r.getMessage() for r in caplog.records] == ["no subnet meets the budgets: the smallest, small, serves"]


def test_a_limit_that_only_the_best_crosses_makes_no_flapping(manifest: Manifest) -> None:
    bench = Bench(manifest, max_latency_ms=None, limits=[SensorLimit("fan_rpm", below=500)])
    swaps_by_minute = []
    for _ in range(20):
        before = bench.controller.swaps
        for _ in range(240):
            bench.sensors.extra["fan_rpm"] = 400.0 if bench.controller.active == "large" else 900.0
            bench.steps(0.25)
        swaps_by_minute.append(bench.controller.swaps - before)
    assert ("middle", Reason.SENSOR_LIMIT) in bench.reasons
    assert swaps_by_minute[0] <= 6
    assert sum(swaps_by_minute[10:]) <= 4, swaps_by_minute
    assert bench.controller.decisions.latest.limits[0].value in (400.0, 900.0)


def test_a_lack_of_memory_does_not_wait(bench: Bench) -> None:
    bench.steps(0.25)
    bench.sensors.then(Readings(free_mb=20.0))  # of 32 that are left to others
    bench.controller.step()
    assert ("middle", Reason.LOW_MEMORY) in bench.reasons
    assert bench.controller.active != "large"


def test_no_load_begins_while_memory_may_go_on_falling(manifest: Manifest) -> None:
    bench = Bench(manifest, collect_loads=True, dwell_s=1.0)
    bench.steps(1.0)
    bench.loaded()
    bench.steps(1.0)
    bench.sensors.then(Readings(free_mb=20.0))  # the middle one would fit now
    bench.controller.step()
    assert bench.reasons[-2:] == [("middle", Reason.LOW_MEMORY), ("small", Reason.BRIDGE)]
    bench.steps(0.75)
    assert bench.loads == []
    bench.sensors.then(Readings(free_mb=5.0))
    bench.steps(2.0)
    assert (bench.controller.active, bench.loads) == ("small", [])
    bench.sensors.then(Readings(free_mb=1e4))
    bench.steps(3.0)
    assert len(bench.loads) == 1


def test_where_two_do_not_fit_the_old_one_goes_first(manifest: Manifest) -> None:
    """100 + 25 MB are allowed, and 50 + 25 and 100 beside them are not: the small one serves in between."""
    bench = Bench(manifest, collect_loads=True, max_memory_mb=130.0)
    bench.steps(1.0)
    bench.loaded()
    lease = bench.controller.lease()
    bench.controller.pin("middle")
    bench.steps(1.0)
    assert bench.controller.active == "small"
    assert not bench.loads, "the large one is still in use"
    lease.release()
    bench.steps(0.5)
    assert len(bench.loads) == 1
    bench.loaded()
    assert bench.controller.active == "middle"


def test_memory_is_never_over_the_budget(manifest: Manifest) -> None:
    held: dict[int, float] = {}
    most: list[float] = []
    bench = Bench(manifest, max_memory_mb=130.0)

    class Counted:
        def __init__(self, name: str) -> None:
            held[id(self)] = MEMORY_MB[name]
            most.append(sum(held.values()))

        def run(self, *_: object) -> list[str]:
            return []

        def __del__(self) -> None:
            held.pop(id(self))

    bench.controller.close()
    source = Source(bench.controller.source.costs, Counted)  # type: ignore[arg-type]
    controller = Controller(
        source=source,
        sensors=bench.sensors,
        policy=Policy(max_memory_mb=130.0),
        clock=bench.clock,
        size=SIZE,
        spawn=lambda work: work(),
    )
    for subnet in ("large", "middle", "large", "small", "middle", None):
        controller.pin(subnet)
        for _ in range(8):
            bench.clock.sleep(0.25)
            controller.step()
        assert subnet in (None, controller.active)
    assert controller.active == "large"
    assert max(most) <= 130.0


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
    bench.sessions.fail("middle", times=1)
    bench.controller.pin("middle")
    bench.controller.step()
    assert bench.controller.active == "large"
    bench.controller.step()
    assert bench.sessions.tried.count("middle") == 1
    assert bench.serve(2.0)[-1] == "middle"


def test_a_request_ends_on_the_session_it_started_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    given_back: list[str] = []
    monkeypatch.setattr(residents, "give_back_memory", lambda: given_back.append(bench.controller.active))
    lease = bench.controller.lease()
    bench.controller.pin("small")
    bench.steps(0.5)
    assert bench.controller.active == "small"
    assert lease.subnet.session.run(None, {})[0] == ["large"]
    bench.controller.step()
    assert given_back == []
    lease.release()
    assert given_back == [], "not in the request"
    bench.controller.step()
    assert given_back == ["small"]


def test_requests_beside_a_load_are_not_held_against_the_machine(manifest: Manifest) -> None:
    bench = Bench(manifest, collect_loads=True)
    bench.steps(1.0)
    bench.loaded()
    bench.serve(3.0)
    bench.controller.pin("middle")
    bench.controller.step()
    bench.contention(9.0)
    bench.serve(0.5)
    bench.contention(1.0)
    bench.loaded()
    bench.controller.pin(None)
    bench.controller.step()
    slowdown = bench.controller.decisions.listed[-1].slowdown
    assert slowdown is None or slowdown.usual < 1.5


def test_a_deadline_is_met_by_the_smallest_where_the_live_one_would_miss_it(bench: Bench) -> None:
    bench.serve(2.0)
    for deadline_ms, expected in ((10.0, "large"), (2.0, "small"), (0.1, "small")):
        with bench.controller.lease_for(deadline_ms, SIZE) as leased:
            assert leased.name == expected
    assert bench.controller.active == "large"


def test_one_that_is_complained_of_is_left_alone(bench: Bench) -> None:
    bench.serve(2.0)
    with bench.controller.lease() as live:
        pass
    bench.controller.complain(live, "it broke")
    bench.controller.complain(live, "it broke")
    bench.steps(0.5)
    assert bench.controller.active == "middle"
    assert bench.reasons.count(("large", Reason.QUARANTINED)) == 1
    bench.steps(20.0)
    assert bench.controller.active == "middle"
    bench.steps(20.0)
    assert bench.controller.active == "large", "after half a minute it may prove itself"


def test_a_hot_processor_is_given_less_to_do_before_it_slows_itself_down(bench: Bench) -> None:
    bench.steps(11.0)
    for warmth in range(16):  # half a degree a second, towards 85
        bench.sensors.then(Readings(temperature_c=72.0 + 0.5 * warmth, temperature_limit_c=85.0))
        bench.steps(1.0)
    assert bench.controller.active == "middle"
    assert ("middle", Reason.TOO_HOT) in bench.reasons
    bench.steps(5.0)
    assert bench.controller.active == "middle", "steady, but too near to rise"
    bench.sensors.then(Readings(temperature_c=60.0, temperature_limit_c=85.0))
    bench.steps(30.0)
    assert bench.controller.active == "large"


def test_a_listener_that_raises_stops_nothing(manifest: Manifest, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(manifest)
    bench.controller.decisions._listener = lambda _: 1 / 0  # type: ignore[assignment,return-value]
    bench.contention(2.5)
    with caplog.at_level(logging.ERROR):
        assert bench.serve(3.0)[-1] == "middle"
    assert "listener" in caplog.text


def test_a_slow_load_of_the_safety_net_is_begun_once(manifest: Manifest) -> None:
    bench = Bench(manifest, collect_loads=True, max_memory_mb=130.0)
    bench.controller.pin("middle")  # 50 + 100 are too many: the small one has to come first
    bench.steps(30.0)
    assert len(bench.loads) == 1
    bench.loaded()
    bench.steps(1.0)
    bench.loaded()
    assert bench.controller.active == "middle"
    assert bench.sessions.tried == ["large", "small", "middle"]


def test_loads_that_hang_for_ever_are_few_and_the_rest_goes_on(manifest: Manifest) -> None:
    bench = Bench(manifest, collect_loads=True)
    bench.contention(2.5)
    for _ in range(20):
        bench.serve(30.0)
    assert len(bench.loads) == 2
    assert bench.controller.active == "large"


def test_a_load_that_slows_requests_down_is_not_given_up_for_it(manifest: Manifest) -> None:
    bench = Bench(manifest, collect_loads=True)
    bench.steps(1.0)
    bench.loaded()
    bench.contention(2.5)
    bench.serve(3.0)
    bench.loaded()
    assert bench.controller.active == "middle"
    bench.contention(1.0)
    bench.serve(4.0)
    assert len(bench.loads) == 1
    bench.contention(2.5)  # by the load itself, which takes eight seconds
    bench.serve(8.0)
    assert len(bench.loads) == 1
    bench.contention(1.0)
    bench.loaded()
    assert bench.controller.active == "large"


def test_a_rise_that_was_a_mistake_is_repeated_less_and_less_often(manifest: Manifest) -> None:
    """The large one takes twice what its profile says: it is too slow each time it serves, and only then."""
    bench = Bench(manifest)
    bench.sessions.latency_ms = QUIET_MS | {"large": 8.0}
    bench.serve(600.0)
    rises = [subnet for subnet, reason in bench.told if reason is Reason.BETTER_FITS]
    assert 2 <= len(rises) <= 8
    assert bench.controller.active == "middle"


def test_requests_that_are_rare_are_remembered(manifest: Manifest) -> None:
    """One in thirty seconds, on a machine that is slower than its profile: no return to the profile in between."""
    bench = Bench(manifest)
    bench.contention(2.5)
    for _ in range(40):
        bench.request()
        bench.steps(30.0)
    assert bench.controller.active != "large"
    assert bench.controller.swaps <= 4


def test_a_pinned_one_in_quarantine_leaves_its_place_to_the_smallest(bench: Bench) -> None:
    bench.serve(1.0)
    bench.controller.pin("large")
    with bench.controller.lease() as live:
        pass
    bench.controller.complain(live, "it broke")
    bench.steps(0.5)
    assert bench.controller.active == "small"
    assert bench.reasons[-1] == ("small", Reason.QUARANTINED)
    bench.steps(31.0)
    assert bench.controller.active == "large"


def test_sensors_that_raise_cost_a_line_in_the_log_and_nothing_else(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.sensors, "read", lambda: 1 / 0)
    with caplog.at_level(logging.ERROR):
        bench.contention(2.5)
        assert bench.serve(60.0)[-1] == "middle"
    assert len([r for r in caplog.records if "sensors failed" in r.getMessage()]) == 1


def test_a_lease_ends_whatever_is_raised_beside_it(bench: Bench) -> None:
    lease = bench.controller.lease()
    subnet = lease.subnet
    del lease
    bench.controller.pin("small")
    bench.steps(1.0)
    assert subnet.state is SessionState.CLOSED


def test_after_close_nothing_answers(bench: Bench) -> None:
    bench.controller.close()
    bench.controller.close()
    with pytest.raises(SessionClosed):
        bench.controller.lease()
    with pytest.raises(SessionClosed):
        _ = bench.controller.active
