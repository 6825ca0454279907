"""Events of a piece of work: it starts, advances, and finishes or fails, whatever happens within it."""

from __future__ import annotations

import pytest

from edgedistill.workflows.progress import ProgressEvent, note, silent, warn, work


def test_work_that_finishes_counts_every_unit() -> None:
    events: list[ProgressEvent] = []
    with work(events.append, "scoring", 2) as scoring:
        scoring.advance()
        scoring.advance()
    assert [(e.kind, e.text, e.done, e.total) for e in events] == [
        ("started", "scoring", 0, 2),
        ("advanced", "scoring", 1, 2),
        ("advanced", "scoring", 2, 2),
        ("finished", "scoring", 2, 2),
    ]
    assert [event.seconds > 0 for event in events] == [False, False, False, True]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_work_that_raises_fails_and_the_error_passes(error: type[BaseException]) -> None:
    events: list[ProgressEvent] = []
    with pytest.raises(error), work(events.append, "scoring"):
        raise error
    assert [event.kind for event in events] == ["started", "failed"]


def test_lines_are_notes_or_warnings() -> None:
    events: list[ProgressEvent] = []
    note(events.append, "one")
    warn(events.append, "two")
    assert [(event.kind, event.text) for event in events] == [("note", "one"), ("warning", "two")]


def test_the_default_shows_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with work(silent, "scoring", 1) as scoring:
        scoring.advance()
    assert capfd.readouterr() == ("", "")
