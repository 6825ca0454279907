"""Check that what a stress run changes in the runtime exists and is restored."""

from __future__ import annotations

from benchmarks.stress import stress
from edgedistill.runtime.control import execute, failures


def test_loads_have_less_time_within_the_block() -> None:
    before = execute.LOAD_LIMIT_S
    with stress.short_loads():
        assert execute.LOAD_LIMIT_S == failures.LOAD_LIMIT_S == stress.LOAD_LIMIT_S
    assert execute.LOAD_LIMIT_S == failures.LOAD_LIMIT_S == before != stress.LOAD_LIMIT_S
