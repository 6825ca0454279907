"""Guard the loop that reads sensors against those that fail or do not return."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Guarded", "Patient"]

from edgedistill.printable import get_logger

_log = get_logger(__name__)
_Value = TypeVar("_Value")

_PATIENCE_S = 5.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0


class Guarded(Generic[_Value]):
    """Read a sensor without ever raising.

    A failing sensor reads None and is retried less and less often, at last once a minute. Only its first failure is
    logged, since a device runs for years.
    """

    def __init__(self, name: str, sensor: Callable[[], _Value], clock: Callable[[], float]) -> None:
        self._name = name
        self._sensor = sensor
        self._clock = clock
        self._pause_s = 0.0
        self._next_s = float("-inf")
        self._logged = False

    def __call__(self) -> _Value | None:
        """Return the reading; None without one."""
        if self._clock() < self._next_s:
            return None
        try:
            value = self._sensor()
        except Exception as error:  # noqa: BLE001 (no sensor may stop the answers)
            self._pause_s = min(_LONGEST_PAUSE_S, max(_FIRST_PAUSE_S, 2 * self._pause_s))
            self._next_s = self._clock() + self._pause_s
            self.log_once(error)
            return None
        self._pause_s = 0.0
        return value

    def log_once(self, error: object) -> None:
        """Log why a reading is missing, the first time."""
        if not self._logged:
            self._logged = True
            _log.warning("no reading of %s: %s", self._name, error)


class Patient(Generic[_Value]):
    """Read a slow sensor (a driver, a bus, the application's own code) in a thread of its own.

    It is read every ``every_s`` seconds; `value` returns the latest reading. While a reading does not return, `value`
    is the last one for 5 s, then None, and no second thread starts.
    """

    def __init__(self, name: str, sensor: Callable[[], _Value], *, every_s: float, clock: Callable[[], float]) -> None:
        self._name = name
        self._sensor = Guarded(name, sensor, clock)
        self._every_s = every_s
        self._clock = clock
        self._thread: threading.Thread | None = None
        self._started_s = float("-inf")
        self._value: _Value | None = None

    def start(self) -> threading.Thread | None:
        """Start a reading if one is due; return its thread, or None if there is nothing to wait for."""
        now_s = self._clock()
        if now_s - self._started_s < self._every_s or self._is_reading():
            return None
        self._started_s = now_s
        thread = threading.Thread(target=self._read, name=f"edgedistill {self._name}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system has no thread left, or the interpreter is about to end
            self._value = None
            self._sensor.log_once(error)
            return None
        self._thread = thread
        return thread

    def value(self) -> _Value | None:
        """Return the latest reading."""
        if self._is_reading() and self._clock() - self._started_s >= _PATIENCE_S:
            self._value = None
            self._sensor.log_once(f"it has not answered for {_PATIENCE_S:g} s")
        return self._value

    def _is_reading(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _read(self) -> None:
        self._value = self._sensor()
