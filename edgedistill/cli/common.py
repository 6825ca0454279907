"""What every command shares: one line for an error, progress on standard error, one JSON document."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, NoReturn, ParamSpec, TypeVar

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from edgedistill.cli.interrupts import INTERRUPTED
from edgedistill.cli.output import console, styled
from edgedistill.errors import EdgeDistillError
from edgedistill.places import lock
from edgedistill.printable import printable

__all__ = ["AsJson", "Digest", "errors_in_one_line", "locking", "progress", "reported", "stage"]

_P = ParamSpec("_P")
_R = TypeVar("_R")
_TRAINING_SIDE = {"torch", "transformers", "onnx", "optimum", "datasets", "sklearn", "scipy", "matplotlib"}
_TRAINING_SIDE |= {"safetensors", "seqeval", "accelerate", "optuna"}
LINE_EVERY_S = 60.0  # far more often than `device_profiles.exchange.Limits.silence_s`

Digest = Annotated[
    str | None, typer.Option(help="The digest that the palette must have, as inspect prints it; another is refused.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]


def reported(command: Callable[_P, _R]) -> Callable[_P, _R]:
    """Turn our errors, an interrupt and a missing training side into one line and an exit code."""

    @functools.wraps(command)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with errors_in_one_line():
            return command(*args, **kwargs)

    return wrapper


def locking(place: Callable[..., Path | None]) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Lock, while the command runs, the place that ``place`` finds in the command's arguments, if any."""

    def decorate(command: Callable[_P, _R]) -> Callable[_P, _R]:
        @functools.wraps(command)
        def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            target = place(**kwargs)
            with lock(target) if target is not None else nullcontext():
                return command(*args, **kwargs)

        return wrapper

    return decorate


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Turn what `reported` turns, within a ``with`` block; all that was printed there is written at its end.

    Raises:
        typer.Exit: with the exit code.
    """
    try:
        yield
        sys.stdout.flush()
    except EdgeDistillError as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        _fail("interrupted; nothing half done was left behind", INTERRUPTED)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _TRAINING_SIDE:
            raise
        _fail(f"this command needs {error.name}; install the workstation side: pip install 'edgedistill[train]'", 1)
    except OSError as error:
        _fail(f"{error.filename or 'the system'}: {error.strerror}; free space or permissions may be missing", 1)


def _fail(message: str, code: int) -> NoReturn:
    sys.stderr.write(f"edgedistill: {printable(' '.join(message.split()))}\n")
    raise typer.Exit(code)


@contextmanager
def progress() -> Iterator[Progress]:
    """Show bars with the time left on standard error, gone when the work is done; where nobody watches, some lines."""
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
    """Print each bar's progress once in a while: a log shows that the work goes on, and so does a board over SSH."""
    ended = threading.Event()

    def tell() -> None:
        while not ended.wait(LINE_EVERY_S):
            for task in bars.tasks:
                if task.visible and task.total:
                    console.print(f"{task.description}: {task.completed:,.0f} of {task.total:,.0f}")

    thread = threading.Thread(target=tell, name="edgedistill-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def stage(bars: Progress, title: str, total: float) -> Iterator[TaskID]:
    """One bar that goes when the block ends, and a line with the time that it took."""
    task = bars.add_task(title, total=total, note="")
    yield task
    elapsed = bars.tasks[-1].elapsed or 0.0
    bars.remove_task(task)
    console.print(styled(("✓", "green"), f" {title} ", (f"{elapsed:.0f} s", "dim")))
