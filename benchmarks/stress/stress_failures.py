"""Inject the failures of a stress run: in loads and runs of a stand-in session, and in sensors."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

from edgedistill.runtime import Readings, SystemSensors

HANG_S = 8.0


def raising(error: Callable[[str], Exception]) -> Callable[[], None]:
    """Return a function that raises this error each time."""

    def fail() -> None:
        raise error("Failed to allocate memory: the benchmark wants it so")

    return fail


ALLOCATION = {"MemoryError": raising(MemoryError), "onnxruntime's failure": raising(RuntimeException)}
FAILURES = {"an error": raising(RuntimeError), **ALLOCATION}


class Faults:
    """Hold what fails next, a load or a run, and of which graph; each is met once."""

    def __init__(self) -> None:
        self._armed: dict[tuple[str, str], Callable[[], None]] = {}

    def arm(self, what: str, graph: str, how: Callable[[], None]) -> None:
        """Let the next load or run of a graph fail so."""
        self._armed[what, graph] = how

    def disarm(self) -> bool:
        """Forget what was not met; whether all was."""
        met = not self._armed
        self._armed.clear()
        return met

    def meet(self, what: str, graph: str) -> None:
        """Fail, if it is meant."""
        how = self._armed.pop((what, graph), None)
        if how is not None:
            how()

    def session(self) -> type[Any]:
        """onnxruntime's session, but for these failures."""
        faults = self

        class Session(onnxruntime.InferenceSession):  # type: ignore[misc]
            def __init__(self, path: str, *options: Any, **named: Any) -> None:
                self._graph = Path(path).name
                faults.meet("load", self._graph)
                super().__init__(path, *options, **named)

            def run(self, *asked: Any) -> Any:
                faults.meet("run", self._graph)
                return super().run(*asked)

        return Session


class FailingSensors:
    """This machine's, with one that raises and one that blocks; as a whole they fail when they are told to."""

    def __init__(self) -> None:
        self.met: Counter[str] = Counter()
        self.next: Callable[[], None] | None = None
        self._raises, self._blocks = count(), count()
        self._machine = SystemSensors(extra={"raises": self._raising, "blocks": self._blocking})

    def read(self) -> Readings:
        """Return the machine's readings."""
        how, self.next = self.next, None
        if how is not None:
            how()
        return self._machine.read()

    def _raising(self) -> float:
        if next(self._raises) % 2:  # not always, or it would be asked ever less often
            return 1.0
        self.met["a sensor raises"] += 1
        raise OSError("the benchmark wants it so")

    def _blocking(self) -> float:
        if next(self._blocks) % 5 == 1:
            self.met["a sensor blocks"] += 1
            time.sleep(HANG_S)  # longer than anybody waits for it
        return 1.0
