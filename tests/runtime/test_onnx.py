from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import psutil
import pytest
from onnx import helper, numpy_helper

from edgedistill.errors import LoadError, OnnxruntimeMissing
from edgedistill.runtime import onnx as ours
from edgedistill.runtime.engine import switches
from edgedistill.testing import FakeSession

BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"No module named {{name!r}}")
sys.meta_path.insert(0, Block())
"""


def python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return done.stdout


def test_a_missing_onnxruntime_is_told_in_one_line_with_the_install() -> None:
    code = (
        BLOCK.format(blocked={"onnxruntime"})
        + "from edgedistill.runtime.onnx import create_session\n"
        + "from edgedistill.errors import OnnxruntimeMissing\n"
        + "try: create_session('x', 1)\n"
        + "except OnnxruntimeMissing as error: print(error)"
    )
    (line,) = python(code).splitlines()
    assert "pip install 'edgedistill[cpu]'" in line


@pytest.mark.parametrize("sign", ["etc/nv_tegra_release", "proc/device-tree/model"])
def test_on_a_jetson_the_vendors_wheel_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sign: str) -> None:
    (tmp_path / sign).parent.mkdir(parents=True)
    (tmp_path / sign).write_bytes(b"NVIDIA Jetson Orin Nano\0")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(OnnxruntimeMissing, match="NVIDIA builds"):
        ours.import_onnxruntime(tmp_path)


def test_the_runtime_needs_nothing_of_the_training_side() -> None:
    blocked = {"torch", "transformers", "onnx", "optimum", "datasets", "sklearn", "safetensors"}
    code = BLOCK.format(blocked=blocked) + "import edgedistill.runtime, edgedistill.testing; print('fine')"
    assert python(code) == "fine\n"


def test_importing_the_runtime_leaves_heavy_modules_for_later() -> None:
    code = "import edgedistill.runtime, sys; print(sorted({'onnxruntime', 'tokenizers', 'typer'} & set(sys.modules)))"
    assert python(code) == "[]\n"


def test_any_module_of_the_name_will_do(tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").write_text("__version__ = '9.9-vendor'\n")
    code = "from edgedistill.runtime.device import describe_device; print(describe_device().onnxruntime)"
    assert python(code, PYTHONPATH=str(tmp_path)) == "9.9-vendor\n"


@pytest.mark.parametrize("content", [None, b"", b"no graph at all"])
def test_a_graph_that_cannot_be_loaded_is_told_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "graph.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LoadError) as caught:
        ours.create_session(path, 1)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_direct_run_answers_as_the_session_and_is_none_of_its_python(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = ours.create_session(tiny / "large.onnx", 1)
    feeds = {node.name: np.ones((1, 4), np.int64) for node in session.get_inputs()}
    names = [node.name for node in session.get_outputs()]
    expected = session.run(names, feeds)
    direct, inputs = switches.direct_run(session, ours.PROVIDER)
    assert inputs == len(feeds)
    monkeypatch.setattr(type(session), "run", lambda *_: pytest.fail("onnxruntime's Python ran"))
    np.testing.assert_array_equal(direct(names, feeds, None), expected)
    np.testing.assert_array_equal(direct(names, feeds, ours.emptying_options()), expected)
    with pytest.raises(Exception, match="Invalid input name"):
        direct(names, {f"{name}_": feed for name, feed in feeds.items()}, None)


def test_a_session_that_is_not_onnxruntimes_own_runs_as_it_does(tiny: Path) -> None:
    class Logged(onnxruntime.InferenceSession):  # type: ignore[misc]
        pass

    for session in (FakeSession("s", lambda: None), Logged(tiny / "large.onnx", providers=[ours.PROVIDER])):
        assert switches.direct_run(session, ours.PROVIDER) == (session.run, -1)


def test_a_session_goes_with_its_last_reference(tiny: Path) -> None:
    session = ours.create_session(tiny / "large.onnx", 1)
    gone = weakref.ref(session)
    gc.disable()
    try:
        del session
        assert gone() is None, "it is in a cycle: its memory would wait for a garbage collection"
    finally:
        gc.enable()


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """A graph that multiplies x [batch, 2048] with 16 MB of weights."""
    path = tmp_path / "wide.onnx"
    weights = numpy_helper.from_array(np.ones((2048, 2048), np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 2048]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "wide", ends[:1], ends[1:], [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


@pytest.mark.parametrize("decoder", [False, True])
def test_threads_without_work_soon_sleep(wide: Path, decoder: bool) -> None:
    session = ours.create_session(wide, 2, decoder=decoder)

    def cpu_ms_after_a_run() -> float:
        session.run(None, {"x": np.ones((64, 2048), np.float32)})
        begin = time.process_time()
        time.sleep(0.1)
        return (time.process_time() - begin) * 1e3

    least_ms = min(cpu_ms_after_a_run() for _ in range(5))
    assert least_ms < (15 if decoder else 1), "as onnxruntime has it, they are awake for half of that"


def test_dropped_sessions_give_their_memory_back(wide: Path) -> None:
    def resident_mb_after_a_session() -> float:
        session = ours.create_session(wide, 1)
        session.run(None, {"x": np.ones((1, 2048), np.float32)})
        del session
        switches.give_back_memory()
        return float(psutil.Process().memory_info().rss) / 1e6

    first = resident_mb_after_a_session()
    last = [resident_mb_after_a_session() for _ in range(10)][-1]
    assert last - first < 8, "one session holds at least 16 MB"


def test_a_large_request_leaves_no_memory_behind(tmp_path: Path) -> None:
    """A chain of activations of 64 MB, after a short one, of which the arena makes what it never gives back."""
    nodes = [helper.make_node("Exp", [f"x{place}"], [f"x{place + 1}"]) for place in range(4)]
    nodes.append(helper.make_node("ReduceSum", ["x4"], ["y"]))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "chain", [value("x0", onnx.TensorProto.FLOAT, ["n"])], [value("y", onnx.TensorProto.FLOAT, [1])]
    )
    path = tmp_path / "chain.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    session, process = ours.create_session(path, 1), psutil.Process()
    session.run(None, {"x0": np.zeros(1, np.float32)})
    feeds = {"x0": np.ones(16_000_000, np.float32)}
    before = process.memory_info().rss
    session.run(None, feeds)
    kept = process.memory_info().rss - before
    session.run(None, feeds, ours.emptying_options())
    assert kept > 50e6
    assert process.memory_info().rss - before < 20e6
