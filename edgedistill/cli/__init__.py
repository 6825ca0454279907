"""The command line: one file a command. Heavy imports wait inside the commands."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from edgedistill.cli import (
    demo,
    devices,
    doctor,
    export,
    extract,
    inspect,
    interrupts,
    profile,
    run,
    search,
    train,
    verify,
)
from edgedistill.cli.common import errors_in_one_line
from edgedistill.cli.streams import prepare
from edgedistill.printable import printable
from edgedistill.renamed import renamed_option

__all__ = ["app", "main"]


class _Commands(TyperGroup):
    """The commands; what a usage error quotes, such as a file's name, steers no terminal."""

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Read what stands before the command."""
        with _printable_errors():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        """Read what stands behind the command, and run it."""
        with _printable_errors():
            return super().invoke(ctx)


@contextmanager
def _printable_errors() -> Iterator[None]:
    try:
        yield
    except _USAGE_ERROR as error:
        renamed = renamed_option(filter(None, [getattr(error, "option_name", None)]))
        error.message = renamed or printable(error.message)
        raise


# click's, or that of a copy which newer versions of typer bring.
_USAGE_ERROR: Any = typer.BadParameter.__base__

app = typer.Typer(
    name="edgedistill",
    cls=_Commands,
    help="One pretrained transformer, a palette of ONNX subnets, and a runtime that swaps the right one in.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for command in (
    demo.demo,
    train.recipe,
    train.train,
    search.search,
    export.export,
    extract.extract,
    inspect.inspect,
    verify.verify,
    devices.devices,
    doctor.doctor,
    profile.profile,
    run.run,
):
    app.command()(command)


def main() -> None:
    """Run the console script: what the library logs as a warning is a line on standard error."""
    prepare()
    interrupts.watch()
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("edgedistill: %(message)s"))
    logging.getLogger("edgedistill").addHandler(handler)  # noqa: TID251
    try:
        with errors_in_one_line():
            try:
                app()
            finally:
                sys.stdout.flush()
    except typer.Exit as end:
        sys.exit(end.exit_code)
