"""Compare a subnet's latency with every other way to run it on this CPU.

Claim: our graph is within 2 % of the best ONNX variant. The variants are a stand-alone file, the same with
onnxruntime's own memory settings, and the same through its transformers optimizer in three ways (fused.py). Next to
them are PyTorch (eager and compiled), OpenVINO, our int8, and a lower bound: multiply-accumulates over the best rate
of a large fp32 product.

Batch 1, one thread, fp32 but for our int8, random weights (speed does not depend on them). Every round shuffles the
variants and opens each ONNX variant again, since a session's place in memory moves it by some percent. Only runs
during which the processor kept its pace count. Rounds continue until each ONNX variant has enough of those, or three
times as many as requested. Figures are ratios to our graph over the shared weights, of which each round opens two
sessions: the second shows the noise. One half of the rounds chooses the best ONNX variant, and the other half compares
it, since the best of several is often the luckiest. The outputs of all variants are compared with ours first.

Set OMP_NUM_THREADS=1, which keeps numpy's product to one thread.

Needs: pip, which installs OpenVINO into WORK; a C++ compiler for torch.compile (both are skipped if missing)
Takes: about an hour
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor

from benchmarks.exporting.export_time import EPS, random_model
from benchmarks.latency import fused
from benchmarks.memory.shared_weights import MODELS
from benchmarks.shared import output, training_runs
from benchmarks.shared.arguments import Rounds, WorkFolder
from benchmarks.shared.plain_torch import PlainEncoder
from edgedistill.architecture import Architecture, Subnet
from edgedistill.device_profiles.timed_runs import Yardstick, full_speed_limit_us
from edgedistill.exporters.encoder_graph import encoder_graph
from edgedistill.exporters.graph_builder import OPSET
from edgedistill.exporters.weights import EncoderWeightStore, write_weights
from edgedistill.palette import Precision
from edgedistill.runtime.onnx import create_session
from edgedistill.supernet.model import ElasticTransformer
from edgedistill.supernet.slicing import extents, full_tensors, slice_tensors

LENGTHS = (16, 64, 128)
# Depth, heads, FFN width: reference sizes of the small model, and three of the large one.
SUBNETS = {
    "MiniLM-L6": {
        "1/1": (6, 12, 1536),
        **{size: training_runs.SIZES[size] for size in ("1/2", "1/3", "1/4", "1/6", "1/9")},
    },
    "BERT-base": {"1/1": (12, 12, 3072), "1/2": (12, 6, 1536), "1/8": (6, 3, 768)},
}
OURS = "shared weights"
AGAIN = "shared weights, again"
INT8 = "shared weights, int8"
ONNX = ("alone", "alone, default memory", *(f"optimizer, {way}" for way in fused.WAYS))
_RUNS = 6  # of each variant in a round
_LEAST = 2  # of them at the processor's pace, for the round to count
_TRIES = 3  # times the rounds asked for
_OTHERS = 5  # rounds, of which one has what is none of ONNX
_TOLERANCE = 1e-3

Feeds = dict[str, NDArray[np.int64]]
Runner = Callable[[Feeds], NDArray[np.float32]]
Opener = Callable[[], Runner]


def write(model: ElasticTransformer, subnets: Sequence[Subnet], folder: Path) -> dict[Subnet, dict[str, Path]]:
    """Graphs over shared weights in both precisions, and each subnet's file of its own."""
    arch, tensors = model.arch, full_tensors(model)
    found: dict[Subnet, dict[str, Path]] = {subnet: {} for subnet in subnets}
    names: dict[str, Precision] = {OURS: "fp32", INT8: "int8"}
    for kind, precision in names.items():
        store = EncoderWeightStore.of(arch, tensors, precision)
        weights = write_weights(folder, store, subnets)
        for subnet in subnets:
            found[subnet][kind] = folder / f"{subnet.name}-{precision}.onnx"
            found[subnet][kind].write_bytes(encoder_graph(store, subnet, weights, eps=EPS)[0].SerializeToString())
    store = EncoderWeightStore.of(arch, tensors, "fp32")
    for subnet in subnets:
        found[subnet]["alone"] = folder / f"{subnet.name}-alone.onnx"
        with tempfile.TemporaryDirectory() as scratch:
            weights = write_weights(Path(scratch), store, [subnet])
            graph, _ = encoder_graph(store, subnet, weights, eps=EPS, portable=True)
            onnx.load_external_data_for_model(graph, scratch)
            onnx.save(graph, found[subnet]["alone"])
    return found


def onnx_runner(session: Any) -> Runner:
    """Any session's only output."""
    names = {node.name for node in session.get_inputs()}

    def run(feeds: Feeds) -> NDArray[np.float32]:
        result: NDArray[np.float32] = session.run(None, {name: feeds[name] for name in names})[0]
        return result

    return run


def default_memory(graph: str | bytes) -> Any:
    """Open a session with onnxruntime's arena and memory patterns, on one thread that does not spin."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def torch_runner(module: Callable[..., Tensor]) -> Runner:
    """Eager or compiled."""

    def run(feeds: Feeds) -> NDArray[np.float32]:
        with torch.no_grad():
            result = module(**{name: torch.from_numpy(feed) for name, feed in feeds.items()})
        return np.asarray(result)

    return run


def compiled(module: torch.nn.Module) -> Callable[..., Tensor]:
    """Compile a graph for each length, with weights that are constants."""
    import torch._inductor.config

    torch._dynamo.reset()
    torch._inductor.config.freezing = True
    result: Callable[..., Tensor] = torch.compile(module, dynamic=False)
    return result


def openvino_runner(openvino: Any, path: Path) -> Runner:
    """Compiled for latency on one thread, in fp32."""
    settings = {
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()

    def run(feeds: Feeds) -> NDArray[np.float32]:
        result: NDArray[np.float32] = request.infer(feeds)[0]
        return result

    return run


def import_openvino(work: Path) -> Any:
    """Import the module, or return why it is missing. Its folder is searched last, and shadows nothing of ours."""
    folder = work / "openvino"
    if not folder.exists():
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), "openvino"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            return f"pip could not install it: {done.stderr.strip().splitlines()[-1]}"
    sys.path.append(str(folder))
    try:
        import openvino  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        return f"it could not be imported: {error}"
    return openvino


def openers(
    model: ElasticTransformer, subnet: Subnet, files: Mapping[str, Path], openvino: Any
) -> tuple[dict[str, Opener], dict[str, Any]]:
    """Return by name how to open every variant of a subnet, and what was fused; those not of ONNX stay open."""
    arch, alone = model.arch, files["alone"]

    def opener(path: Path) -> Opener:
        return lambda: onnx_runner(create_session(path, threads=1))

    found = {kind: opener(path) for kind, path in files.items()} | {AGAIN: opener(files[OURS])}
    found["alone, default memory"] = lambda: onnx_runner(default_memory(str(alone)))
    counts: dict[str, Any] = {}
    for way in fused.WAYS:
        target = alone.with_name(f"{subnet.name}-{way.replace(' ', '-')}.onnx")
        counts[way] = fused.fuse(alone, target, subnet.layers[0].heads, arch.head_size, way)
        found[f"optimizer, {way}"] = opener(target)
    tensors = slice_tensors(full_tensors(model), extents(arch, subnet))
    plain = PlainEncoder(arch, subnet, tensors, EPS)
    found["torch, eager"] = partial(torch_runner, plain)
    if compiler():
        found["torch, compiled"] = partial(torch_runner, compiled(plain))
    if not isinstance(openvino, str):
        runner = openvino_runner(openvino, alone)
        found["OpenVINO"] = lambda: runner
    return found, counts


def compiler() -> str | None:
    """torch.compile needs one for C++."""
    return shutil.which(os.environ.get("CXX", "g++"))


def feeds_of(arch: Architecture, tokens: int) -> Feeds:
    """Return random ids without padding."""
    ids = np.random.default_rng(0).integers(0, arch.vocabulary, (1, tokens))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def same(found: Mapping[str, Runner], feeds: Feeds) -> None:
    """Check that every fp32 variant answers as ours does, on whole and padded texts; this warms it up, too."""
    padded = feeds["attention_mask"].copy()
    padded[:, padded.shape[1] * 3 // 4 :] = 0
    for asked in (feeds | {"attention_mask": padded}, feeds):
        _same(found, asked)


def _same(found: Mapping[str, Runner], feeds: Feeds) -> None:
    answers = {name: run(feeds) for name, run in found.items()}
    for name, answer in answers.items():
        difference = float(np.abs(answer - answers[OURS]).max())
        assert name == INT8 or difference <= _TOLERANCE, (name, difference)


def compared(found: Mapping[str, Opener], feeds: Feeds, rounds: int) -> dict[str, Any]:
    """Our milliseconds, and the others' ratios to them: medians over the rounds that count, and quartiles."""
    same({name: opened() for name, opened in found.items()}, feeds)
    order, times = random.Random(0), Times()
    for number in range(_TRIES * rounds):
        if number >= rounds and all(len(times.kept(name)) >= rounds for name in (OURS, AGAIN, *ONNX)):
            break
        names = [name for name in found if name in (OURS, AGAIN, *ONNX) or number % _OTHERS == 0]
        for name in order.sample(names, len(names)):
            times.add(name, found[name](), feeds)
    ours = [*times.kept(OURS), *times.kept(AGAIN)]
    ratios = {name: np.array(times.kept(name)) / median(ours) for name in found if name != OURS}
    best = min(ONNX, key=lambda name: float(np.median(ratios[name][::2])))
    return {
        "ms": round(median(ours), 3),
        "rounds": min(len(times.kept(name)) for name in (OURS, AGAIN, *ONNX)),
        "ratios": {name: spread(of) for name, of in ratios.items()},
        "best_onnx": {"variant": best} | spread(ratios[best][1::2]),
    }


def spread(ratios: NDArray[np.float64]) -> dict[str, float]:
    """Median and quartiles."""
    found = np.percentile(ratios, [50, 25, 75])
    return {name: round(float(value), 3) for name, value in zip(("ratio", "low", "high"), found, strict=True)}


class Times:
    """Runs of variants, a few in each round, with a look at the processor about each."""

    def __init__(self) -> None:
        self._yardstick = Yardstick()
        self._rounds: dict[str, list[list[tuple[float, float]]]] = {}

    def add(self, name: str, run: Runner, feeds: Feeds) -> None:
        """Add one round of a variant, after one run that does not count."""
        run(feeds)
        taken, before_us = list[tuple[float, float]](), self._yardstick.look_us()
        for _ in range(_RUNS):
            started = time.perf_counter()
            run(feeds)
            ms = 1000 * (time.perf_counter() - started)
            after_us = self._yardstick.look_us()
            taken.append((max(before_us, after_us), ms))
            before_us = after_us
        self._rounds.setdefault(name, []).append(taken)

    def kept(self, name: str) -> list[float]:
        """Median milliseconds of each round in which the processor kept its pace; of the two nearest where none is."""
        limit_us = full_speed_limit_us([look for rounds in self._rounds.values() for of in rounds for look, _ in of])
        rounds = [[ms for look_us, ms in taken if look_us <= limit_us] for taken in self._rounds[name]]
        medians = [median(counted) for counted in rounds if len(counted) >= _LEAST]
        nearest = sorted(self._rounds[name], key=lambda taken: median(look_us for look_us, _ in taken))[:2]
        return medians if len(medians) >= len(nearest) else [median(ms for _, ms in taken) for taken in nearest]


def matrix_rate() -> float:
    """Multiply-accumulates a second of one thread, the best over sizes, times, and three libraries."""
    best = 0.0
    for size in (512, 1024, 2048):
        matrix = torch.randn(size, size)
        array = matrix.numpy()
        session = default_memory(_product(array).SerializeToString())
        for product in (partial(torch.mm, matrix, matrix), partial(np.dot, array, array), _asked(session, array)):
            for _ in range(10):
                started = time.perf_counter()
                product()
                best = max(best, size**3 / (time.perf_counter() - started))
    return best


def _product(weight: NDArray[np.float32]) -> onnx.ModelProto:
    """Return a graph that multiplies by this matrix, which onnxruntime packs as it does a layer's."""
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, weight.shape) for name in ("x", "y")]
    node = helper.make_node("MatMul", ["x", "weight"], ["y"])
    graph = helper.make_graph([node], "product", values[:1], values[1:], [numpy_helper.from_array(weight, "weight")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def _asked(session: Any, x: NDArray[np.float32]) -> Callable[[], Any]:
    return partial(session.run, None, {"x": x})


def measured(name: str, folder: Path, openvino: Any, rate: float, rounds: int) -> dict[str, Any]:
    """Measure a model's subnets at every length."""
    arch = MODELS[name]
    model = random_model(arch)
    subnets = {
        size: Subnet.uniform(range(depth), hidden=arch.hidden, heads=heads, ffn=ffn)
        for size, (depth, heads, ffn) in SUBNETS[name].items()
    }
    files = write(model, list(subnets.values()), folder)
    result = {}
    for size, subnet in subnets.items():
        found, counts = openers(model, subnet, files[subnet], openvino)
        lengths = {}
        for tokens in LENGTHS:
            lengths[tokens] = compared(found, feeds_of(arch, tokens), rounds)
            floor = 1000 * arch.macs(subnet, tokens=tokens) / rate
            lengths[tokens]["ratios"]["floor"] = {"ratio": round(floor / lengths[tokens]["ms"], 3)}
            output.log(f"{name} {size} at {tokens}: {lengths[tokens]}")
        result[size] = {"subnet": subnet.name, "fused": counts, "lengths": lengths}
    return result


def main(work: WorkFolder, rounds: Rounds = 20) -> None:
    """Measure both models, and save the comparison."""
    torch.set_num_threads(1)
    openvino, rate = import_openvino(work), matrix_rate()
    skipped = {} if compiler() else {"torch, compiled": "no C++ compiler"}
    if isinstance(openvino, str):
        skipped["OpenVINO"] = openvino
    models = {}
    for name in SUBNETS:
        with tempfile.TemporaryDirectory(dir=work) as folder:
            models[name] = measured(name, Path(folder), openvino, rate, rounds)
    others = {} if isinstance(openvino, str) else {"openvino": str(openvino.__version__)}
    output.save_result(
        "latency",
        {
            "rounds": rounds,
            "billion_macs_a_second": round(rate / 1e9, 1),
            "versions": {"onnxruntime": onnxruntime.__version__, "torch": torch.__version__} | others,
            "skipped": skipped,
            "models": models,
        },
    )
