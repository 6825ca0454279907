"""``extract``: what it refuses, in one line, and what it writes of a real supernet."""

from __future__ import annotations

import json
from pathlib import Path

import onnxruntime
import pytest
from commands import invoke, one_line


@pytest.mark.slow
def test_one_file_of_a_real_supernet_loads_without_anything_of_ours(real_workplace: Path, tmp_path: Path) -> None:
    workplace = real_workplace
    path = tmp_path / "small.onnx"
    done = invoke("extract", workplace / "supernet", "l2-d384-h3-f192-int8", "-o", path, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["format"] == "onnx"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert next(node.name for node in session.get_inputs()) == "input_ids"
    assert path.stat().st_size < 16e6
    one_line(invoke("extract", workplace / "supernet", "l2-d384-h3-f192", "-o", path), "exists")
    hf = ("-o", tmp_path / "hf", "--format", "hf")
    one_line(invoke("extract", workplace / "supernet", "l6-d384-h12-f1536", *hf), "the mean of all tokens")


def test_what_cannot_be_extracted_is_said_in_one_line(workplace: Path, tmp_path: Path) -> None:
    supernet, out = workplace / "supernet", tmp_path / "out"
    one_line(invoke("extract", supernet, "l5-d7", "-o", out), "no subnet 'l5-d7'")
    one_line(
        invoke("extract", supernet, "l2-d48-h3-f24-int8", "-o", out, "--format", "hf"), "holds the weights in fp32"
    )
    one_line(invoke("extract", tmp_path, "l6-d384-h12-f1536", "-o", out), "not a supernet")
    assert list(tmp_path.iterdir()) == []
