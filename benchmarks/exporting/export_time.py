"""Measure how long a family of twelve takes to write, next to one subnet and to optimum-onnx.

Claims: twelve subnets in fp32 and int8 take at most 1.5 times one, and are at least 5 times faster than twelve runs of
optimum-onnx's exporter; search and evaluation do not count.

Fresh processes run in another order each round, with random weights of MiniLM-L6 and BERT-base, both with BERT's own
head. Our side makes the calls of `write_palette` (weights files, graphs, hashes and syncs) without its checks, which
cannot be left out there. Both sides start with weights on disk. Theirs exports plain checkpoints of the same weights
and shapes without validation: BERT's config names pruned heads, which transformers 4 understands. Their files are
fp32, ours fp32 and int8. It measures whole processes, and the seconds inside one process for all twelve, imports
excluded; there, theirs may quantize to int8 as well.

Needs: pip, which makes an environment with optimum-onnx in WORK (the README says how to get torch without CUDA)
Takes: about 40 minutes
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.memory import shared_weights
from benchmarks.shared import output
from benchmarks.shared.arguments import Repeats, WorkFolder
from edgedistill.architecture import Architecture, Subnet
from edgedistill.exporters.encoder_graph import encoder_graph
from edgedistill.exporters.weights import EncoderWeightStore, write_weights
from edgedistill.palette import Precision
from edgedistill.runtime.onnx import create_session
from edgedistill.supernet.families import family_of
from edgedistill.supernet.model import ElasticTransformer
from edgedistill.supernet.slicing import extents, full_tensors, slice_tensors

MODELS = {name: replace(arch, pooling="first", dense="tanh") for name, arch in shared_weights.MODELS.items()}
EPS = 1e-12
_TENSORS = "tensors.safetensors"
_THEIRS = ("transformers", "optimum", "tokenizers", "huggingface_hub")  # optimum-onnx wants older ones than ours
_TOLERANCE = 1e-3
_COUNTS = {"one": 1, "twelve": 12}


class Pieces:
    """Seconds of each piece of the work."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def end(self, name: str) -> None:
        """Add the time since the last call, or the start, to this piece."""
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now


def write_family(arch: Architecture, file: Path, members: Sequence[Subnet], folder: Path) -> dict[str, float]:
    """Write a palette's weights and graphs in both precisions, and return the seconds of each piece."""
    pieces = Pieces()
    tensors = load_file(file)
    pieces.end("load")
    for precision in get_args(Precision):
        store = EncoderWeightStore.of(arch, tensors, precision)
        weights = write_weights(folder, store, members)
        pieces.end("weights")
        for subnet in members:
            graph, _ = encoder_graph(store, subnet, weights, eps=EPS)
            (folder / _name(subnet, precision)).write_bytes(graph.SerializeToString(deterministic=True))
        pieces.end("graphs")
    for path in folder.iterdir():
        _hashed_and_synced(path)
    pieces.end("hashes")
    return pieces.seconds


def _name(subnet: Subnet, precision: Precision) -> str:
    return f"{subnet.name}-{precision}.onnx"


def _hashed_and_synced(path: Path) -> None:
    """Hash and sync a file, as a manifest needs it."""
    hashlib.sha256(path.read_bytes()).hexdigest()
    with path.open("rb") as file:
        os.fsync(file.fileno())


def random_model(arch: Architecture) -> ElasticTransformer:
    """Norms near 1, for outputs of some size."""
    torch.manual_seed(0)
    model = ElasticTransformer(arch, eps=EPS)
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, mean=1.0 if name.endswith("norm.weight") else 0.0, std=0.02)
    model.freeze()
    return model


def write_checkpoint(arch: Architecture, tensors: Mapping[str, Tensor], subnet: Subnet, folder: Path) -> None:
    """Write the subnet, whose layers are the first ones, as transformers 4 loads it."""
    first, depth = subnet.layers[0], len(subnet.layers)
    alone = replace(arch, layers=depth, heads=first.heads, ffn=first.ffn)
    small = slice_tensors(tensors, extents(arch, subnet))
    config = {
        **family_of(arch.model_type).settings(arch, EPS),
        "architectures": ["BertForSequenceClassification"],
        "model_type": arch.model_type,
        "num_hidden_layers": depth,
        "pruned_heads": {str(index): list(range(first.heads, arch.heads)) for index in range(depth)},
        "intermediate_size": first.ffn,
        "num_labels": arch.outputs,
    }
    folder.mkdir()
    theirs = family_of(arch.model_type).write(small, alone, "SequenceClassification", 0)
    save_file(theirs, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))


def environment(work: Path) -> Path:
    """Make an environment with optimum-onnx once, pinned to our versions where possible, and return its interpreter."""
    python = work / "optimum" / "bin" / "python"
    made = work / "optimum" / "made"
    if made.exists():
        return python
    venv.create(work / "optimum", clear=True, with_pip=True)
    lines = (output.ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = work / "optimum" / "constraints.txt"
    pins.write_text("\n".join(line for line in lines if line.partition("==")[0] not in _THEIRS))
    wanted = ("torch", "optimum-onnx[onnxruntime]==0.1.0")
    subprocess.run([str(python), "-m", "pip", "install", "-q", "-c", str(pins), *wanted], check=True, stdout=sys.stderr)
    made.touch()
    return python


def versions(python: Path) -> dict[str, str]:
    """Return the versions of the packages that their side runs on."""
    names = ("optimum-onnx", "transformers", "torch", "onnxruntime")
    code = f"import json; from importlib.metadata import version; print(json.dumps({{n: version(n) for n in {names}}}))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def process(*command: str | Path) -> dict[str, Any]:
    """Seconds of a fresh process as a whole, and those that it says itself."""
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {"process": time.perf_counter() - started, "inside": json.loads(done.stdout.splitlines()[-1])}


def one_round(name: str, folder: Path, python: Path, order: random.Random) -> dict[str, Any]:
    """Ours with one and with twelve, theirs twelve times and at once, in any order."""
    script = Path(__file__).with_name("optimum_runs.py")
    checkpoints = [folder / subnet.name for subnet in shared_weights.twelve(MODELS[name])]
    todo: dict[str, Callable[[], Any]] = {
        "one": lambda: _ours(name, folder, "one"),
        "twelve": lambda: _ours(name, folder, "twelve"),
        "apart": lambda: [process(python, script, checkpoint) for checkpoint in checkpoints],
        "together": lambda: process(python, script, "--int8", *checkpoints),
    }
    return {kind: todo[kind]() for kind in order.sample(list(todo), len(todo))}


def _ours(name: str, folder: Path, kind: str) -> dict[str, Any]:
    target = folder / kind
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    return process(sys.executable, "-m", "benchmarks.exporting.export_time", name, kind, folder)


def largest_difference(arch: Architecture, folder: Path) -> float:
    """Return the largest difference between the outputs of our fp32 graphs and theirs."""
    rng, worst = np.random.default_rng(0), 0.0
    ids = rng.integers(0, arch.vocabulary, (2, 17))
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    for subnet in shared_weights.twelve(arch):
        graphs = folder / "twelve" / _name(subnet, "fp32"), folder / subnet.name / "onnx" / "model.onnx"
        outputs: list[NDArray[np.float32]] = [create_session(graph, 1).run(None, feeds)[0] for graph in graphs]
        worst = max(worst, float(np.abs(outputs[0] - outputs[1]).max()))
    assert worst <= _TOLERANCE, worst
    return worst


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and largest."""
    return {"median": round(median(values), 3), "low": round(min(values), 3), "high": round(max(values), 3)}


def summary(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Ratios of each round, and seconds."""
    seconds: dict[str, list[float]] = {}
    for of in rounds:
        found = {f"{kind}, {where}": _seconds(of[kind], where) for kind in _COUNTS for where in ("inside", "process")}
        found["theirs, processes"] = sum(run["process"] for run in of["apart"])
        found["theirs, inside"] = sum(of["together"]["inside"]["fp32"])
        found["theirs, inside, int8 too"] = found["theirs, inside"] + sum(of["together"]["inside"]["int8"])
        for name, value in found.items():
            seconds.setdefault(name, []).append(value)

    def ratio(above: str, below: str) -> dict[str, float]:
        return spread([a / b for a, b in zip(seconds[above], seconds[below], strict=True)])

    names = rounds[0]["twelve"]["inside"]
    return {
        "seconds": {name: spread(values) for name, values in seconds.items()},
        "pieces": {kind: {name: _piece(rounds, kind, name) for name in names} for kind in _COUNTS},
        "twelve_over_one": {where: ratio(f"twelve, {where}", f"one, {where}") for where in ("inside", "process")},
        "theirs_over_ours": {
            "processes": ratio("theirs, processes", "twelve, process"),
            "inside": ratio("theirs, inside", "twelve, inside"),
            "inside, int8 too": ratio("theirs, inside, int8 too", "twelve, inside"),
        },
    }


def _seconds(run: Mapping[str, Any], where: str) -> float:
    seconds: float = run["process"] if where == "process" else sum(run["inside"].values())
    return seconds


def _piece(rounds: Sequence[Mapping[str, Any]], kind: str, name: str) -> float:
    return round(float(median(of[kind]["inside"][name] for of in rounds)), 3)


def main(work: WorkFolder, repeats: Repeats = 3) -> None:
    """Measure both models, and save the comparison."""
    python = environment(work)
    found = {}
    for name, arch in MODELS.items():
        folder = work / f"export-time-{name}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        tensors = full_tensors(random_model(arch))
        save_file(tensors, folder / _TENSORS)
        for subnet in shared_weights.twelve(arch):
            write_checkpoint(arch, tensors, subnet, folder / subnet.name)
        del tensors
        rounds = []
        for number in range(repeats):
            rounds.append(one_round(name, folder, python, random.Random(number)))
            output.log(f"{name}, round {number + 1}: {summary(rounds[-1:])}")
        found[name] = summary(rounds) | {"largest_difference": largest_difference(arch, folder)}
        shutil.rmtree(folder)
    output.save_result("export-time", {"repeats": repeats, "theirs": versions(python), "models": found})


def ours(name: str, kind: str, folder: str) -> None:
    """Run our side once, and print the seconds of the pieces."""
    members = shared_weights.twelve(MODELS[name])[: _COUNTS[kind]]
    print(json.dumps(write_family(MODELS[name], Path(folder) / _TENSORS, members, Path(folder) / kind)))


if __name__ == "__main__":
    ours(*sys.argv[1:])
