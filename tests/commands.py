"""Running a command in this process, and what bad input has to look like."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from edgedistill.cli import app


def invoke(*arguments: object, stdin: str | bytes | None = None) -> Result:
    """`edgedistill` with these arguments."""
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)


def run_block(script: str, folder: Path) -> str:
    """Run a page's block of `edgedistill` commands in that folder, in this process; what they print.

    A line may go on after a backslash, and its output may go to a file; anything else of a shell is refused.
    """
    printed = ""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for line in script.replace("\\\n", " ").splitlines():
            program, *arguments = shlex.split(line)
            assert program == "edgedistill", line
            output = Path(arguments.pop()) if arguments[-2:-1] == [">"] else None
            if output is not None:
                arguments.pop()
            assert not any(argument in {"|", ">", "&&", ";"} for argument in arguments), line
            done = invoke(*arguments)
            assert done.exit_code == 0, f"{line}\n{done.output}"
            if output is None:
                printed += done.stdout
            else:
                output.write_text(done.stdout, encoding="utf-8")
    return printed


def one_line(result: Result, says: str) -> None:
    """Fail unless it ended with one line of error that says this."""
    assert result.exit_code != 0
    assert "Traceback" not in result.output
    errors = [line for line in result.stderr.splitlines() if line.startswith("edgedistill: ")]
    assert len(errors) == 1, result.output
    assert says in errors[0], errors[0]
