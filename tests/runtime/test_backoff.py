from __future__ import annotations

from edgedistill.runtime.backoff import Backoff


def waits(backoff: Backoff, failures: int) -> list[float]:
    """Seconds, in steps of one, until it may be tried again after each of so many failures in a row."""
    found, now_s = [], 0.0
    for count in range(1, failures + 1):
        assert backoff.failed("large", now_s) == count
        began_s = now_s
        while not backoff.allows("large", now_s):
            now_s += 1.0
        found.append(now_s - began_s)
    return found


def test_each_failure_doubles_the_wait_up_to_the_longest() -> None:
    assert waits(Backoff(), 9) == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    assert waits(Backoff(first_s=30.0, longest_s=100.0), 3) == [30.0, 60.0, 100.0]


def test_success_and_forgetting_begin_anew() -> None:
    backoff = Backoff()
    waits(backoff, 3)
    backoff.failed("large", 100.0)
    backoff.succeeded("large")
    assert backoff.allows("large", 100.0)
    assert backoff.failed("large", 200.0) == 1
    backoff.forget()
    assert backoff.allows("large", 200.0)
    assert backoff.failed("large", 300.0) == 1


def test_what_fails_for_years_is_still_tried() -> None:
    backoff = Backoff()
    for _ in range(5000):
        backoff.failed("large", 0.0)
    assert not backoff.allows("large", 59.0)
    assert backoff.allows("large", 60.0)


def test_others_are_not_held_back() -> None:
    backoff = Backoff()
    backoff.failed("large", 0.0)
    assert backoff.allows("small", 0.0)
