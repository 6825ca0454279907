"""Provide fakes for applications' tests: a clock, scripted sensors, sessions without onnxruntime.

Hand them to `edgedistill.runtime.AdaptiveSession` as ``clock``, ``sensors`` and ``create``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedistill.errors import LoadError
from edgedistill.runtime.sensors import Readings

__all__ = ["FakeClock", "FakeSensors", "FakeSession", "FakeSessions"]


class FakeClock:
    """Provide a clock that only `sleep` advances."""

    def __init__(self, now_s: float = 0.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        """Return the seconds since the clock's start."""
        return self.now_s

    def sleep(self, seconds: float) -> None:
        """Advance the clock without waiting."""
        self.now_s += seconds


class FakeSensors:
    """Return scripted readings one after another, then the last of them for ever.

    Args:
        script: the readings.
        extra: the application's own sensors, whose values are added to every reading. May be changed at any time.
    """

    def __init__(self, script: Iterable[Readings] = (), *, extra: Mapping[str, float] | None = None) -> None:
        self._script = list(script) or [Readings()]
        self.extra = dict(extra or {})

    def read(self) -> Readings:
        """Return the next readings."""
        readings = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        return replace(readings, extra={**readings.extra, **self.extra}) if self.extra else readings

    def then(self, *readings: Readings) -> None:
        """Replace the script by these readings."""
        self._script = list(readings)


class FakeSession:
    """Answer every run with the subnet's name, after a while."""

    def __init__(self, subnet: str, latency: Callable[[], None]) -> None:
        self.subnet = subnet
        self._latency = latency

    def run(
        self,
        output_names: Sequence[str] | None,  # noqa: ARG002 (onnxruntime's signature)
        input_feed: Mapping[str, Any],  # noqa: ARG002
        run_options: Any = None,  # noqa: ARG002
    ) -> list[NDArray[Any]]:
        """Return one array [1] that holds the subnet's name."""
        self._latency()
        return [np.array([self.subnet])]

    def get_inputs(self) -> list[Any]:
        """Return no inputs: it accepts any feeds."""
        return []

    def get_outputs(self) -> list[Any]:
        """Return no outputs."""
        return []


class FakeSessions:
    """Create a `FakeSession` of any subnet, with configurable latency and failures.

    Args:
        latency_ms: latency of a run, by subnet; 0 for the others. May be changed at any time.
        load_ms: time of a load.
        sleep: function that waits: a real one, or `FakeClock.sleep`.
    """

    def __init__(
        self,
        latency_ms: Mapping[str, float] | None = None,
        *,
        load_ms: float = 0.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.latency_ms = dict(latency_ms or {})
        self.load_ms = load_ms
        self.tried: list[str] = []
        self._sleep = sleep
        self._failures: dict[str, float] = {}

    def fail(self, subnet: str, *, times: float = float("inf")) -> None:
        """Let the next ``times`` loads of this subnet fail."""
        self._failures[subnet] = times

    def __call__(self, subnet: str) -> FakeSession:
        """Create a session of that subnet.

        Raises:
            LoadError: as set by `fail`.
        """
        self.tried.append(subnet)
        self._sleep(self.load_ms / 1e3)
        if self._failures.get(subnet, 0) > 0:
            self._failures[subnet] -= 1
            raise LoadError(f"{subnet} cannot be loaded: the test wants it so")
        return FakeSession(subnet, lambda: self._sleep(self.latency_ms.get(subnet, 0.0) / 1e3))
