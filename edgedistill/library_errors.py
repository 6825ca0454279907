"""Call other libraries: what they raise becomes an error of ours, and what they print can be silenced."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgedistill.errors import EdgeDistillError

__all__ = ["disk_errors", "first_line", "is_library_error", "library_errors", "quiet"]


def is_library_error(error: BaseException) -> bool:
    """Return whether a library may have raised it: any exception, or a panic."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def first_line(error: BaseException) -> str:
    """Return the error's first line; the name of its kind where it has none."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


@contextmanager
def library_errors(kind: type[EdgeDistillError], what: str, advice: str = "") -> Iterator[None]:
    """Turn what a library raises in the block into an error of that kind: ``what``, the reason, and the advice.

    Errors of ours pass as they are.
    """
    try:
        yield
    except EdgeDistillError:
        raise
    except BaseException as error:
        if not is_library_error(error):
            raise
        raise kind(f"{what}: {first_line(error)}{advice and f'; {advice}'}") from error


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Raise `OSError` where a library writes by Rust code, which reports a full disk by exceptions of its own."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


@contextmanager
def quiet(library: Any) -> Iterator[None]:
    """Silence all log lines, and the progress bars of ``transformers`` or ``datasets``."""
    bars, disabled = library.utils.logging, logging.root.manager.disable
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(disabled)
        if shown:
            bars.enable_progress_bar()
