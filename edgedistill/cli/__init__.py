"""The command line: one file a command. Heavy imports wait inside the commands."""

from __future__ import annotations

import logging

import typer

from edgedistill.cli import demo, devices, doctor, export, extract, inspect, profile, run, search, train, verify

__all__ = ["app", "main"]

app = typer.Typer(
    name="edgedistill",
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
    """The console script: what the library logs as a warning is a line on standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("edgedistill: %(message)s"))
    logging.getLogger("edgedistill").addHandler(handler)  # noqa: TID251
    app()
