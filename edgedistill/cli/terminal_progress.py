"""Show a workflow's progress on standard error: bars and spinners that go when the work ends, and lines that stay."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from edgedistill.cli.output import console, styled
from edgedistill.workflows.figures import ERROR_TITLE, error_in
from edgedistill.workflows.progress import ProgressEvent

if TYPE_CHECKING:
    from rich.status import Status

    from edgedistill.distillation.evaluation import Score

__all__ = ["TerminalProgress"]

LINE_EVERY_S = 60.0  # far more often than `device_profiles.remote_pipe.ReceiveLimits.silence_s`


class TerminalProgress:
    """A callback that shows each event; of pieces of work the latest that started.

    Example: edgedistill.train(model, data=data, output=output, progress=edgedistill.TerminalProgress())
    """

    def __init__(self) -> None:
        self._shown = ExitStack()
        self._bar: tuple[Progress, TaskID] | None = None
        self._status: Status | None = None

    def __call__(self, event: ProgressEvent) -> None:
        """Show one event."""
        if event.kind == "started":
            self._start(event)
        elif event.kind == "advanced":
            self._advance(event)
        elif event.kind in {"finished", "failed"}:
            self._end(event)
        else:
            console.print(styled((event.text, "yellow" if event.kind == "warning" else "")), soft_wrap=True)

    def _start(self, event: ProgressEvent) -> None:
        self._hide()
        if event.total is None:
            self._status = self._shown.enter_context(console.busy(event.text))
        else:
            bars = self._shown.enter_context(_bars())
            self._bar = bars, bars.add_task(event.text, total=event.total, note="")

    def _advance(self, event: ProgressEvent) -> None:
        if self._bar is not None:
            bars, task = self._bar
            bars.update(task, completed=event.done, total=event.total, note=_losses(event))
        elif self._status is not None and event.detail:
            self._status.update(styled(event.detail))
            if not console.is_terminal:
                console.print(event.detail)
        if event.scores:
            scores = "  ".join(f"{name} {_describe(score)}" for name, score in event.scores.items())
            console.print(f"  step {event.done:,} of {event.total or 0:,}, validation: {scores}")

    def _end(self, event: ProgressEvent) -> None:
        self._hide()
        if event.kind == "finished" and event.total is not None:
            length = ", ".join(part for part in (event.detail, f"{event.seconds:.0f} s") if part)
            console.print(styled(("✓", "green"), f" {event.text} ", (length, "dim")))

    def _hide(self) -> None:
        self._shown.close()
        self._bar = self._status = None


def _losses(event: ProgressEvent) -> str:
    if not event.losses:
        return ""
    return "loss " + "  ".join(f"{name} {loss:.3f}" for name, loss in sorted(event.losses.items()))


def _describe(score: Score) -> str:
    """Return the headline and the loss in words; of a regression the mean absolute error too."""
    error = error_in(score.metrics)
    in_words = "" if error is None else f"{ERROR_TITLE} {error:.4g}, "
    return f"{score.value:.2%} ({in_words}loss {score.loss:.3f})"


@contextmanager
def _bars() -> Iterator[Progress]:
    """Show bars with the time left; where nobody watches, some lines."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with (
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars,
        nullcontext() if console.is_terminal else _lines_now_and_then(bars),
    ):
        yield bars


@contextmanager
def _lines_now_and_then(bars: Progress) -> Iterator[None]:
    """Print each bar's progress once in a while: a log shows that the work continues, and so does a board over SSH."""
    ended = threading.Event()

    def print_lines() -> None:
        while not ended.wait(LINE_EVERY_S):
            for task in bars.tasks:
                if task.visible and task.total:
                    console.print(f"{task.description}: {task.completed:,.0f} of {task.total:,.0f}")

    thread = threading.Thread(target=print_lines, name="edgedistill-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
