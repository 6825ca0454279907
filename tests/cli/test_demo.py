"""The whole path once, as a person types it, and every command's help."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import invoke, one_line
from conftest import FEWER_STEPS, MODEL

_TRAIN = ["train", MODEL, "--data", "commands", "-o", "supernet", *FEWER_STEPS]

SUBNET_KEYS = {
    "name", "layers", "heads", "ffn", "hidden", "precision", "layer_parameters", "total_parameters",
    "size_mb", "accuracy", "p50_ms", "p95_ms", "low_ms", "high_ms", "samples", "memory_mb",
}  # fmt: skip


@pytest.mark.long
def test_the_demo_swaps_under_real_load_and_tells_all(real_workplace: Path, tmp_path: Path) -> None:
    # Training is the same as in `train`, and done: the demo goes on from there.
    workplace = _copy(real_workplace, tmp_path)
    shutil.copytree(workplace / "supernet", workplace / "demo" / "supernet")
    command = [sys.executable, "-m", "edgedistill", "demo", "--data", "commands", "-o", "demo", "--json"]
    done = subprocess.run(command, cwd=workplace, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert set(document["teacher"]) >= {"accuracy", "layer_parameters", "total_parameters"}
    assert 0 < document["baseline"]["accuracy"] <= 1
    assert len(document["subnets"]) >= 6
    for subnet in document["subnets"]:
        assert set(subnet) == SUBNET_KEYS
        assert 0 < subnet["p50_ms"] <= subnet["p95_ms"]
    sizes = [subnet["layer_parameters"] for subnet in document["subnets"]]
    assert sizes == sorted(sizes, reverse=True)
    assert document["requests"] > 100
    assert document["failed"] == 0
    assert document["swaps"] >= 2
    assert (workplace / document["palette"] / "manifest.json").is_file()


@pytest.mark.parametrize(
    "command", ["demo", "train", "search", "export", "extract", "inspect", "verify", "profile", "run"]
)
def test_every_command_helps_with_an_example(command: str) -> None:
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert f"Example: edgedistill {command}" in " ".join(result.output.split())


def test_help_loads_nothing_heavy() -> None:
    listed = (
        "import sys; from edgedistill.cli import app; "
        "print([m for m in ('torch', 'transformers', 'onnx', 'onnxruntime', 'datasets', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", listed], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_second_export_goes_on_with_an_estimate_beside_the_measurement(palette: Path) -> None:
    """The README's commands gave `--device pi5`: an estimate that says so, beside what was measured here."""
    profiles = {path.stem: json.loads(path.read_text()) for path in (palette / "profiles").iterdir()}
    assert profiles["pi5"]["kind"] == "estimated"
    assert "never checked on the board" in profiles["pi5"]["method"]
    assert sorted(p["kind"] for p in profiles.values()) == ["estimated", "measured"]


def _copy(workplace: Path, folder: Path) -> Path:
    """Return a copy for a test that writes, without the palette."""
    shutil.copytree(workplace, folder / "copy", ignore=lambda *_: ["palette"])
    return folder / "copy"


@pytest.mark.slow
def test_the_same_train_command_again_has_nothing_left_to_do(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (workplace / "supernet" / "lowrank.safetensors").read_bytes()
    monkeypatch.chdir(_copy(workplace, tmp_path))
    done = invoke(*_TRAIN, "--json")
    assert done.exit_code == 0, done.output
    assert [score["stage"] for score in json.loads(done.stdout)["stages"]] == [0, 1, 2]
    assert Path("supernet", "lowrank.safetensors").read_bytes() == before


@pytest.mark.slow
def test_other_settings_do_not_go_on_with_a_supernet(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(_copy(workplace, tmp_path))
    done = invoke(*_TRAIN, "--seed", 1)
    one_line(done, "other settings")
    assert done.exit_code == 1


def test_a_graph_runs_with_nothing_but_onnxruntime(palette: Path) -> None:
    """No code of ours, no torch: onnxruntime and numpy on a graph and the weights beside it."""
    script = f"""
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {{"edgedistill", "torch", "transformers", "onnx", "optimum", "tokenizers"}}:
            raise ImportError(name)
sys.meta_path.insert(0, Nothing())
import numpy, onnxruntime, pathlib
for path in sorted(pathlib.Path({str(palette)!r}).glob("*.onnx")):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feeds = {{i.name: numpy.ones((3, 9), numpy.int64) for i in session.get_inputs()}}
    print(session.run(None, feeds)[0].shape)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(list(palette.glob("*.onnx"))) >= 6
    assert set(lines) == {"(3, 20)"}
