"""Check the advice at the end of ``export``: a command that answers, and the class for Python."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import stories_palette
import tiny_palette
from commands import invoke
from tiny_palette import LABEL_SETS, LABELLED, NUMBERS, PAIRS, TAGGED, VECTORS, Kind

from edgedistill.cli.export import _next_command
from edgedistill.palette import load


@pytest.mark.parametrize(
    ("kind", "pipeline"),
    [
        (LABELLED, "TextClassifier"),
        (PAIRS, "TextClassifier"),
        (LABEL_SETS, "MultiLabelClassifier"),
        (NUMBERS, "TextRegressor"),
        (TAGGED, "TokenClassifier"),
        (VECTORS, "SentenceEncoder"),
        (None, "TextGenerator"),
    ],
)
def test_the_advice_answers_texts_of_the_task(tmp_path: Path, kind: Kind | None, pipeline: str) -> None:
    folder = tmp_path / "palette"
    if kind is None:
        stories_palette.write(folder)
    else:
        tiny_palette.write(folder, kind)
    command, python = _next_command(load(folder)).split(" (in Python: ")
    assert python == f"edgedistill.runtime.{pipeline})"
    program, *arguments = shlex.split(command)
    assert program == "edgedistill"
    done = invoke(*arguments)
    assert done.exit_code == 0, done.output
