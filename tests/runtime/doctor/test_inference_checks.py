"""onnxruntime, tried in a process of its own: real, missing, broken, and of a kind that kills."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from edgedistill.runtime.doctor.inference_checks import onnxruntime
from edgedistill.runtime.doctor.trial import GRAPH

FAKE = """
__version__ = {version!r}
class SessionOptions:
    def add_session_config_entry(self, *_): pass
class InferenceSession:
    def __init__(self, *_, **__): {opens}
    def get_inputs(self): return []
    def run(self, *_):
        import numpy as np
        return [np.zeros((2, 4)), np.zeros((2, 4))]
def get_available_providers(): return ["CPUExecutionProvider"]
"""


@pytest.fixture
def instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a module of that name takes onnxruntime's place, in processes that are started."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "onnxruntime.py"


def test_the_one_that_is_installed_here() -> None:
    found = onnxruntime(Path("/"))
    assert found.state == "ok", found
    assert found.summary.startswith(metadata.version("onnxruntime"))
    assert "CPUExecutionProvider" in found.summary


def test_none_is_installed_with_one_command(instead: Path, tmp_path: Path) -> None:
    instead.write_text("raise ModuleNotFoundError(name='onnxruntime')\n")
    found = onnxruntime(tmp_path)
    assert (found.state, found.summary) == ("problem", "not installed")
    assert found.fix == 'pip install "edgedistill[cpu]"'
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").touch()
    on_a_jetson = onnxruntime(tmp_path).fix or ""
    assert on_a_jetson.startswith("python3 -m venv ")
    assert on_a_jetson.endswith('bin/pip install "edgedistill[cpu]"')


@pytest.mark.parametrize(
    ("module", "says", "fix"),
    [
        ("raise ImportError('libstdc++.so.6: no such file')\n", "libstdc++", "--force-reinstall onnxruntime"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGILL)\n",
            "not built for this processor",
            '"onnxruntime!=1.21.0"',
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n", "SIGKILL; is there enough memory?", "reinstall"),
        ("import sys; sys.exit('no licence')\n", "status 1: no licence", "reinstall"),
        (FAKE.format(version="1.99", opens="pass"), "it computes wrongly", "reinstall"),
        (FAKE.format(version="1.99", opens="raise OSError('no pages')"), "opens no session", "reinstall"),
    ],
)
def test_one_that_does_not_work_is_told_with_its_reason(instead: Path, module: str, says: str, fix: str) -> None:
    instead.write_text(module)
    found = onnxruntime(Path("/"))
    assert found.state == "problem"
    assert says in found.summary
    assert fix in (found.fix or "")


def test_an_old_one_is_told_with_the_version_that_the_package_asks_for(instead: Path) -> None:
    zeros = "[np.array([[6.0] * 4, [270.0] * 4])] * 2"
    module = FAKE.format(version="1.9.3", opens="pass").replace("[np.zeros((2, 4)), np.zeros((2, 4))]", zeros)
    instead.write_text(module)
    found = onnxruntime(Path("/"))
    assert (found.state, found.summary) == ("problem", "1.9.3, expected 1.20 or later")
    assert found.fix == 'pip install --upgrade "onnxruntime>=1.20"'


def test_two_distributions_of_one_module_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    both = {"onnxruntime": ["onnxruntime", "onnxruntime-gpu"]}
    monkeypatch.setattr(metadata, "packages_distributions", lambda: both)
    found = onnxruntime(Path("/"))
    assert found.state == "note"
    assert found.fix == 'pip uninstall -y onnxruntime onnxruntime-gpu && pip install "edgedistill[cpu]"'


def test_the_graph_of_the_trial_is_this_one() -> None:
    constants = [
        helper.make_tensor("ones", TensorProto.FLOAT, [4, 4], [1.0] * 16),
        helper.make_tensor("one", TensorProto.UINT8, [4, 4], [129] * 16),
        helper.make_tensor("zero", TensorProto.UINT8, [], [0]),
        helper.make_tensor("point", TensorProto.UINT8, [], [128]),
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "ones"], ["y"]),
        helper.make_node("MatMulInteger", ["q", "one", "zero", "point"], ["z"]),
    ]
    ends = {"x": TensorProto.FLOAT, "q": TensorProto.UINT8, "y": TensorProto.FLOAT, "z": TensorProto.INT32}
    infos = [helper.make_tensor_value_info(name, kind, [2, 4]) for name, kind in ends.items()]
    graph = helper.make_graph(nodes, "trial", infos[:2], infos[2:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    assert onnx.load_from_string(GRAPH) == model
