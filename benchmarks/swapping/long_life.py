"""Simulate days of a device in minutes: a million requests through load, heat, memory and failing loads.

Claim: swaps stay within the policy's limit in every minute, each request is answered, and memory, open files and
threads do not grow. The clock, the sensors and the sessions come from `edgedistill.testing`; the controller is the
real one. The exit code is 1 if the claim does not hold.

Needs: nothing
Takes: about 3 minutes
"""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass, field
from typing import Annotated, Any

import psutil
import typer

from edgedistill.runtime.control.controller import Controller
from edgedistill.runtime.control.decide import Policy
from edgedistill.runtime.predict.candidates import Candidate
from edgedistill.runtime.predict.slowdown import Size
from edgedistill.runtime.sensors import Readings
from edgedistill.runtime.source import Source
from edgedistill.testing import FakeClock, FakeSessions

DAY_S = 86_400.0
EVERY_S = 0.5  # between requests: half a million take about three days
QUIET_MS = {"large": 8.0, "middle": 4.0, "small": 2.0}
QUALITY = {"large": 0.96, "middle": 0.95, "small": 0.93}
MEMORY_MB = {"large": 70.0, "middle": 45.0, "small": 25.0}
_SIZE = Size(1, 16)


class Figures:
    """Give the expected costs of the three subnets."""

    def candidates(self, size: Size) -> list[Candidate]:
        """Return all subnets with their costs."""
        return [self.candidate(name, size) for name in QUIET_MS]

    def candidate(self, name: str, size: Size) -> Candidate:  # noqa: ARG002 (one size only)
        """Return one subnet with its costs."""
        return Candidate(name, QUALITY[name], MEMORY_MB[name], QUIET_MS[name], 1.2 * QUIET_MS[name])

    def ratio(self, subnet: str, size: Size, latency_ms: float) -> float:  # noqa: ARG002
        """Observed over expected."""
        return latency_ms / QUIET_MS[subnet]


@dataclass
class Device:
    """Curves over the day, with noise: load in office hours, heat behind the load, other programs' memory."""

    clock: FakeClock
    rng: random.Random = field(default_factory=lambda: random.Random(0))
    temperature_c: float = 45.0
    at_s: float = 0.0

    @property
    def slower(self) -> float:
        """Return the slow-down of the moment."""
        hour = self.clock() % DAY_S / 3600
        busy = max(0.0, math.sin((hour - 6) / 24 * 2 * math.pi))
        return 1.0 + 2.0 * busy * (0.5 + 0.5 * math.sin(self.clock() / 40)) + 0.05 * self.rng.random()

    def read(self) -> Readings:
        """Return what the sensors read."""
        passed_s, self.at_s = self.clock() - self.at_s, self.clock()
        aim_c = 45.0 + 18.0 * self.slower
        self.temperature_c += (aim_c - self.temperature_c) * min(1.0, passed_s / 120)
        free_mb = 160.0 + 130.0 * math.sin(self.clock() / 600)
        return Readings(free_mb=free_mb, temperature_c=self.temperature_c, temperature_limit_c=85.0)


def lived(requests: int) -> dict[str, Any]:
    """Serve a number of requests, one every half second; return what grew, and how often it swapped."""
    clock = FakeClock(7 * 3600.0)  # office hours are near
    device, sessions = Device(clock), FakeSessions(QUIET_MS, load_ms=120.0, sleep=clock.sleep)
    policy = Policy(max_latency_ms=16.0, reserve_mb=20.0)
    controller = Controller(
        source=Source(Figures(), sessions),
        sensors=device,
        policy=policy,
        clock=clock,
        size=_SIZE,
        spawn=lambda work: work(),
    )
    process, swaps_s, answered, grown = psutil.Process(), list[float](), dict.fromkeys(QUIET_MS, 0), []
    for request in range(requests):
        slower, before = device.slower, controller.swaps
        sessions.latency_ms = {name: ms * slower for name, ms in QUIET_MS.items()}
        if request % 5000 == 0:
            sessions.fail("middle", times=2)
        controller.step()
        swaps_s += [clock()] * (controller.swaps - before)
        with controller.lease() as live:
            start_s = clock()
            live.session.run(None, {})
        controller.observe(clock(), live, _SIZE, (clock() - start_s) * 1e3)
        answered[live.name] += 1
        clock.sleep(EVERY_S)
        if request % (requests // 10) == requests // 10 - 1:
            sessions.tried.clear()
            grown.append((process.memory_info().rss / 1e6, process.num_fds(), process.num_threads()))
    controller.close()
    return {
        "requests": requests,
        "days": round(requests * EVERY_S / DAY_S, 2),
        "answered": answered,
        "swaps": len(swaps_s),
        "most_swaps_in_a_minute": most_in_a_minute(swaps_s),
        "allowed": policy.max_swaps_per_minute,
        "mb_files_threads": {"after a tenth": grown[0], "at the end": grown[-1]},
    }


def most_in_a_minute(at_s: list[float]) -> int:
    """Return the most swaps within any 60 s."""
    first = most = 0
    for place, now_s in enumerate(at_s):
        while now_s - at_s[first] >= 60.0:
            first += 1
        most = max(most, place - first + 1)
    return most


def held(figures: dict[str, Any]) -> bool:
    """Return whether the claim held."""
    first, last = figures["mb_files_threads"].values()
    return bool(
        sum(figures["answered"].values()) == figures["requests"]
        and figures["most_swaps_in_a_minute"] <= figures["allowed"] + 1  # a fall by way of the smallest is two
        and last[0] <= 1.02 * first[0] + 1
        and last[1:] == first[1:]
    )


def main(requests: Annotated[int, typer.Option(min=1, help="requests in all")] = 1_000_000) -> int:
    """Simulate, and print the figures."""
    figures = lived(requests)
    print(json.dumps(figures))
    return 0 if held(figures) else 1
