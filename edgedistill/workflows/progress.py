"""Progress of a workflow, as events that a callback receives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from edgedistill.distillation.evaluation import Score

__all__ = ["ProgressCallback", "ProgressEvent", "Work", "note", "silent", "warn", "work"]


@dataclass(frozen=True, kw_only=True)
class ProgressEvent:
    """One event of a workflow.

    Attributes:
        kind: ``started``, ``advanced``, ``finished`` and ``failed`` concern a piece of work; ``note`` and ``warning``
            are one line to show.
        text: the work's title, or the line.
        done: units of the work that are done.
        total: units of the whole work; None if they cannot be counted.
        detail: what the work does now, in words; of one that finished, how large it was.
        seconds: how long the work took, once it finished.
        losses: during training, the latest loss of each subnet.
        scores: during training, new scores on validation data, by subnet.
    """

    kind: Literal["started", "advanced", "finished", "failed", "note", "warning"]
    text: str
    done: int = 0
    total: int | None = None
    detail: str = ""
    seconds: float = 0.0
    losses: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, Score] = field(default_factory=dict)


ProgressCallback = Callable[[ProgressEvent], None]


def silent(event: ProgressEvent) -> None:
    """Show nothing: what every workflow does with its events by default."""


def note(progress: ProgressCallback, text: str) -> None:
    """Report one line."""
    progress(ProgressEvent(kind="note", text=text))


def warn(progress: ProgressCallback, text: str) -> None:
    """Report one line that deserves attention."""
    progress(ProgressEvent(kind="warning", text=text))


class Work:
    """A piece of work that reports its progress; it starts when it is made."""

    def __init__(self, progress: ProgressCallback, title: str, total: int | None = None) -> None:
        self._progress, self._title = progress, title
        self._done, self._total = 0, total
        self._started = time.monotonic()
        progress(ProgressEvent(kind="started", text=title, total=total))

    def advance(self) -> None:
        """Report that one more unit is done."""
        self.move(self._done + 1, self._total)

    def move(
        self,
        done: int,
        total: int | None = None,
        *,
        detail: str = "",
        losses: Mapping[str, float] | None = None,
        scores: Mapping[str, Score] | None = None,
    ) -> None:
        """Report that ``done`` units of ``total`` are done."""
        self._done, self._total = done, total
        self._progress(
            ProgressEvent(
                kind="advanced",
                text=self._title,
                done=done,
                total=total,
                detail=detail,
                losses=losses or {},
                scores=scores or {},
            )
        )

    def finish(self, detail: str = "") -> None:
        """Report the end of the work."""
        self._end("finished", detail)

    def fail(self) -> None:
        """Report that the work ended early."""
        self._end("failed", "")

    def _end(self, kind: Literal["finished", "failed"], detail: str) -> None:
        seconds = time.monotonic() - self._started
        self._progress(
            ProgressEvent(
                kind=kind, text=self._title, done=self._done, total=self._total, detail=detail, seconds=seconds
            )
        )


@contextmanager
def work(progress: ProgressCallback, title: str, total: int | None = None) -> Iterator[Work]:
    """Report the start and the end of what the block does."""
    started = Work(progress, title, total)
    try:
        yield started
    except BaseException:
        started.fail()
        raise
    started.finish()
