from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedistill.device_profiles.job import ROUND, Job, LatencyResult, MemoryResult
from edgedistill.device_profiles.worker import median_interval
from edgedistill.palette import TensorSpec

ROWS, COLUMNS = 2048, 4096
WEIGHTS_MB = ROWS * COLUMNS * 4 / 1e6


def _graph(folder: Path, rows: int, columns: int) -> Path:
    """Embeddings of ``columns`` for ids below ``rows``, summed over the tokens: all its size is the table."""
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["found"]),
        helper.make_node("ReduceSum", ["found", "axis"], ["logits"], keepdims=0),
    ]
    table = numpy_helper.from_array(np.ones((rows, columns), np.float32), "table")
    axis = numpy_helper.from_array(np.array([1]), "axis")
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", columns])
    graph = helper.make_graph(nodes, "table", [ids], [logits], [table, axis])
    path = folder / f"{rows}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def _job(task: str, *graphs: Path, vocabulary: int, rounds: int = 5, budget_s: float = 60.0, width: float = 0.0) -> Job:
    spec = TensorSpec(name="input_ids", dtype="int64", shape=["batch", "tokens"])
    return Job.model_validate(
        {
            "task": task,
            "graphs": {name: str(graph) for name, graph in zip(("one", "another"), graphs, strict=False)},
            "weights": str(graphs[0]),
            "inputs": [spec],
            "shapes": [(1, 4), (2, 8)],
            "threads": 1,
            "vocabulary": vocabulary,
            "width": width,
            "rounds": rounds,
            "budget_s": budget_s,
        }
    )


def _lines(job: Job) -> list[str]:
    command = [sys.executable, "-m", "edgedistill.device_profiles.worker"]
    done = subprocess.run(command, input=job.model_dump_json(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.slow
def test_memory_is_the_sessions_not_the_imports_nor_the_parents(tmp_path: Path) -> None:
    ballast = np.ones(300_000_000 // 8)  # resident here: a child's ru_maxrss would start from it
    large, small = (
        MemoryResult.model_validate_json(_lines(_job("memory", _graph(tmp_path, rows, COLUMNS), vocabulary=rows))[-1])
        for rows in (ROWS, 16)
    )
    assert ballast.nbytes > 299e6
    assert small.peak_mb < 30
    assert WEIGHTS_MB - 1 <= large.peak_mb - small.peak_mb <= 4 * WEIGHTS_MB
    assert large.steady_mb <= large.peak_mb
    assert large.load_ms > 0
    assert large.cold_load_ms > 0
    assert large.cpu_s > 0


@pytest.mark.slow
def test_memory_with_the_smallest_is_of_both(tmp_path: Path) -> None:
    large, other = (_graph(tmp_path, rows, COLUMNS) for rows in (ROWS, ROWS - 1))
    alone, both = (
        MemoryResult.model_validate_json(_lines(_job("memory", *graphs, vocabulary=16))[-1])
        for graphs in ((large,), (large, other))
    )
    assert abs(alone.with_smallest_mb - alone.peak_mb) < WEIGHTS_MB / 2
    assert both.with_smallest_mb - alone.with_smallest_mb > WEIGHTS_MB / 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rounds", "budget_s", "samples"),
    [(22, 60.0, 22), (22, 0.0, 20), (3, 0.0, 3)],
    ids=["rounds", "budget", "rounds before the least"],
)
def test_latency_ends_with_its_rounds_or_its_budget(tmp_path: Path, rounds: int, budget_s: float, samples: int) -> None:
    job = _job("latency", _graph(tmp_path, 16, 8), vocabulary=16, rounds=rounds, budget_s=budget_s)
    *progress, last = _lines(job)
    assert progress == [f"{ROUND}{done}" for done in range(1, samples + 1)]
    found = LatencyResult.model_validate_json(last)
    assert [(p.threads, p.batch, p.tokens) for p in found.latency["one"]] == [(1, 1, 4), (1, 2, 8)]
    # A run while the processor was slower does not count where twenty others do.
    assert {min(samples, 20) <= p.samples <= samples for p in found.latency["one"]} == {True}
    assert 0 <= found.kept_pace <= 1


@pytest.mark.alone
@pytest.mark.slow
def test_latency_ends_when_its_medians_are_known(tmp_path: Path) -> None:
    job = _job("latency", _graph(tmp_path, 16, 8), vocabulary=16, rounds=500, width=5.0)
    *progress, last = _lines(job)
    assert len(progress) == 20
    for point in LatencyResult.model_validate_json(last).latency["one"]:
        assert point.low_ms <= point.p50_ms <= point.high_ms <= point.p99_ms


@pytest.mark.slow
def test_the_interval_of_a_median_holds_it_nineteen_times_of_twenty() -> None:
    rng = np.random.default_rng(0)
    assert median_interval([3.0]) == (3.0, 3.0)
    assert median_interval([3.0, 1.0, 2.0]) == (1.0, 3.0)
    for samples in (20, 50, 200):
        held = [
            low <= 0 <= high for low, high in (median_interval(list(rng.normal(size=samples))) for _ in range(4000))
        ]
        assert 0.945 <= np.mean(held) <= 0.975


def test_ids_stay_below_the_vocabulary(tmp_path: Path) -> None:
    """Onnxruntime refuses an id that the table has no row for."""
    assert len(_lines(_job("memory", _graph(tmp_path, 1, 8), vocabulary=1))) == 1
