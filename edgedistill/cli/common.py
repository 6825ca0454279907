"""Shared by every command: one line for an error, one JSON document."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, NoReturn, ParamSpec, TypeVar

import typer

from edgedistill.cli.interrupts import INTERRUPTED
from edgedistill.errors import EdgeDistillError
from edgedistill.places import lock
from edgedistill.printable import printable
from edgedistill.workflows.training_side import needs_training_side

__all__ = ["AsJson", "Digest", "errors_in_one_line", "locking", "reported"]

_P = ParamSpec("_P")
_R = TypeVar("_R")

Digest = Annotated[
    str | None, typer.Option(help="The digest that the palette must have, as inspect prints it; another is refused.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]


def reported(command: Callable[_P, _R]) -> Callable[_P, _R]:
    """Turn our errors, an interrupt and a missing training side into one line and an exit code."""

    @functools.wraps(command)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with errors_in_one_line():
            return needs_training_side(command)(*args, **kwargs)

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
    except OSError as error:
        _fail(f"{error.filename or 'the system'}: {error.strerror}; free space or permissions may be missing", 1)


def _fail(message: str, code: int) -> NoReturn:
    sys.stderr.write(f"edgedistill: {printable(' '.join(message.split()))}\n")
    raise typer.Exit(code)
