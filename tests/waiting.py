"""What other threads are to do while a test looks on."""

from __future__ import annotations

import time
from collections.abc import Callable

WAIT_S = 20.0


def wait_until(condition: Callable[[], bool]) -> None:
    """Until it is so.

    Raises:
        AssertionError: it was not, for long.
    """
    end_s = time.perf_counter() + WAIT_S
    while not condition():
        assert time.perf_counter() < end_s, "it did not happen"
        time.sleep(0.002)
