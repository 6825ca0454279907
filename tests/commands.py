"""Running a command in this process, and what bad input has to look like."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from edgedistill.cli import app


def invoke(*arguments: object, stdin: str | bytes | None = None) -> Result:
    """`edgedistill` with these arguments."""
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)


def one_line(result: Result, says: str) -> None:
    """Fail unless it ended with one line of error that says this."""
    assert result.exit_code != 0
    assert "Traceback" not in result.output
    errors = [line for line in result.stderr.splitlines() if line.startswith("edgedistill: ")]
    assert len(errors) == 1, result.output
    assert says in errors[0], errors[0]
