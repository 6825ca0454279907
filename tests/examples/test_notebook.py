"""Execute the notebook as it is committed, on a small random model, with short phases."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import programs
import pytest
from nbclient import NotebookClient
from tiny_training import model_folder

NOTEBOOK = programs.EXAMPLES / "notebook" / "palette.ipynb"


@pytest.mark.slow
def test_the_notebook_runs_and_draws_both_pictures(tmp_path: Path) -> None:
    sizes = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128}
    model_folder(tmp_path / "sentence-transformers" / "all-MiniLM-L6-v2", **sizes)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    settings = next(cell for cell in notebook.cells if "min_steps = " in cell.source)
    short = re.sub(r": \d+(?=[,}])", ": 1", settings.source)
    assert "count, phase_s = 6, 6" in short
    settings.source = short.replace("count, phase_s = 6, 6", "count, phase_s = 2, 1")
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute(cwd=str(tmp_path))
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    printed = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")
    assert re.search(r"the palette has \d+\n\d+ requests, \d+ swaps\n", printed)


def test_the_committed_outputs_are_real_small_and_of_no_machine() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    pictures = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 2
    assert max(map(len, pictures)) < 150_000
    texts = "".join(output.get("text", "") for output in outputs)
    assert not re.search(r"/\w+/\w+/|Traceback|Warning", texts), texts
