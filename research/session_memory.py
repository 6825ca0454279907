"""Measure what onnxruntime's arena and memory patterns cost and bring where lengths vary.

Claim: with the arena for short requests, emptied after long ones and with weights outside it (our sessions), as little
stays after large batches as with neither, and no setting is more than 2 % faster.

Fresh processes run one graph on texts of random lengths: peak memory above that before loading, what stays between
requests, and what is left once the session is dropped and memory given back. Then all settings take turns in one
process, for the latency at 16 tokens. Weights are random, in MiniLM-L6's dimensions: the full size, and a ninth.

Needs: nothing
Takes: about 20 minutes
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime

from benchmarks.exporting.export_time import random_model
from benchmarks.latency.latency import OURS, SUBNETS, Feeds, Runner, Times, feeds_of, onnx_runner, write
from benchmarks.memory.shared_weights import MODELS
from benchmarks.shared import output
from benchmarks.shared.arguments import Repeats
from edgedistill.architecture import Subnet
from edgedistill.runtime.engine.switches import give_back_memory
from edgedistill.runtime.onnx import LARGE_TOKENS, create_session, emptying_options

SETTINGS = {"neither": (False, False), "arena": (True, False), "patterns": (False, True), "both": (True, True)}
OWN = "ours"
LOADS = {"1 x 128": (1, 128, 200), "1 x 512": (1, 512, 120), "8 x 512": (8, 512, 30)}  # largest shape, requests
_MODEL, _SIZES, _ROUNDS = "MiniLM-L6", ("1/1", "1/9"), 31


def runner(graph: str, setting: str) -> Runner:
    """Return a runner of a session with one thread that does not spin."""
    if setting != OWN:
        return onnx_runner(session(graph, setting))
    own = create_session(graph, 1)

    def run(feeds: Feeds) -> Any:
        options = emptying_options() if next(iter(feeds.values())).size > LARGE_TOKENS else None
        return own.run(None, feeds, options)[0]

    run({name: ids[:1, :2] for name, ids in feeds_of(MODELS[_MODEL], 2).items()})  # as a session is warmed up
    return run


def session(graph: str, setting: str) -> Any:
    """Open a session with onnxruntime's own settings for memory."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena, options.enable_mem_pattern = SETTINGS[setting]
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def resident(key: str = "VmRSS") -> float:
    """MB of this process."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith(key))


def requests(batch: int, tokens: int, count: int, seed: int) -> list[Feeds]:
    """Return requests of random shapes up to this one."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        shape = (int(rng.integers(1, batch + 1)), int(rng.integers(1, tokens + 1)))
        ids = rng.integers(0, MODELS[_MODEL].vocabulary, shape)
        found.append({"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)})
    return found


def one(graph: str, setting: str, load: str, seed: str) -> None:
    """Run one setting in a process of its own, and print the three figures."""
    asked, before = requests(*LOADS[load], int(seed)), resident()
    run = runner(graph, setting)
    for feeds in asked:
        run(feeds)
    steady, peak = resident() - before, resident("VmHWM") - before
    del run
    give_back_memory()
    print(json.dumps({"peak_mb": peak, "steady_mb": steady, "left_mb": resident() - before}))


def memory(graph: Path, repeats: int) -> dict[str, Any]:
    """Medians by load and setting."""
    found: dict[str, Any] = {}
    for load in LOADS:
        runs: dict[str, list[dict[str, float]]] = {setting: [] for setting in (*SETTINGS, OWN)}
        for seed in range(repeats):
            for setting, own in runs.items():
                command = [
                    sys.executable,
                    "-m",
                    "research.session_memory",
                    "--one",
                    str(graph),
                    setting,
                    load,
                    str(seed),
                ]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                own.append(json.loads(done.stdout))
        found[load] = {
            setting: {key: round(median(run[key] for run in of), 1) for key in of[0]} for setting, of in runs.items()
        }
        output.log(f"{graph.stem}, {load}: {found[load]}")
    return found


def latency(graph: Path) -> dict[str, float]:
    """Over that with neither: medians of the rounds that count."""
    feeds, order = feeds_of(MODELS[_MODEL], 16), random.Random(0)
    running = {setting: runner(str(graph), setting) for setting in (*SETTINGS, OWN)}
    times = Times()
    for _ in range(_ROUNDS):
        for setting in order.sample(list(running), len(running)):
            times.add(setting, running[setting], feeds)
    return {setting: round(median(times.kept(setting)) / median(times.kept("neither")), 3) for setting in running}


def main(repeats: Repeats = 3) -> None:
    """Measure both sizes, and save the comparison."""
    arch = MODELS[_MODEL]
    subnets = [
        Subnet.uniform(range(depth), hidden=arch.hidden, heads=heads, ffn=ffn)
        for depth, heads, ffn in (SUBNETS[_MODEL][size] for size in _SIZES)
    ]
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        files = write(random_model(arch), subnets, Path(folder))
        for subnet in subnets:
            graph = files[subnet][OURS]
            found[subnet.name] = {"memory": memory(graph, repeats), "latency": latency(graph)}
            output.log(f"{subnet.name}: {found[subnet.name]['latency']}")
    output.save_finding("session-memory", {"repeats": repeats, "models": found})


if __name__ == "__main__":
    one(*sys.argv[1:])
