"""Measure what the device side costs to install and to import, next to other ways to run the same models.

Claim: `edgedistill[cpu]` alone is a fraction of transformers with a CPU-only torch, and of optimum's ORTModel, in
disk, import time and import memory. What it adds to bare onnxruntime, the minimum, is named.

Each way has a virtual environment, ours with the wheel that is built here. Megabytes (10⁶ bytes) are those of all that
pip installed, compiled modules included, less pip and setuptools. Imports are timed in fresh processes, shuffled each
round: an application's own imports, and what is in memory once a BERT is open to answer. Ratios are to bare
onnxruntime in the same round. On a busy machine the processor's time is more reliable than the clock's. The
environments stay in WORK; remove WORK/edgedistill and WORK/wheel to measure another version of EdgeDistill.

Needs: pip (the README says how to get torch without CUDA)
Takes: about 30 minutes
"""

from __future__ import annotations

import json
import platform
import random
import subprocess
import sys
import venv
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.shared import output
from benchmarks.shared.arguments import Repeats, WorkFolder

BASE = "onnxruntime"
INTERPRETER = "interpreter"  # that imports nothing
_TOOLS = ("pip", "setuptools")
_LARGEST = 8  # distributions of a way that are named
_MEASURES = ("ms", "cpu_ms", "resident_mb")
_TIMED = """
import json, time
start_s, start_cpu_s = time.perf_counter(), time.process_time()
{imports}
found = {{"ms": 1e3 * (time.perf_counter() - start_s), "cpu_ms": 1e3 * (time.process_time() - start_cpu_s)}}
with open("/proc/self/status") as file:
    found["resident_mb"] = next(int(line.split()[1]) * 1024 / 1e6 for line in file if line.startswith("VmRSS"))
print(json.dumps(found))
"""

_Case = tuple[str, str]  # a way, and one of its two sorts of imports


@dataclass(frozen=True)
class Way:
    """A way to run a model.

    Attributes:
        wanted: what pip is asked for; ``{wheel}`` is ours.
        imports: what an application writes.
        in_use: that, and what is imported at the latest when a BERT and its tokenizer are opened.
        unpinned: distributions that it wants in other versions than ours.
    """

    wanted: tuple[str, ...]
    imports: str
    in_use: str
    unpinned: tuple[str, ...] = ()


_TRANSFORMERS = "from transformers import AutoModelForSequenceClassification, AutoTokenizer"
_BERT = "from transformers import BertForSequenceClassification, BertTokenizerFast"
_ORT_MODEL = "from optimum.onnxruntime import ORTModelForSequenceClassification; from transformers import AutoTokenizer"
_EDGEDISTILL = "from edgedistill.runtime import AdaptiveSession, TextClassifier"
WAYS = {
    BASE: Way(("onnxruntime",), "import onnxruntime", "import onnxruntime"),
    "edgedistill": Way(("{wheel}[cpu]",), _EDGEDISTILL, f"{_EDGEDISTILL}; import onnxruntime, tokenizers"),
    "transformers": Way(("torch", "transformers"), _TRANSFORMERS, f"{_TRANSFORMERS}; {_BERT}"),
    # Its model is a graph, so that of transformers' BERT only the tokenizer and the configuration come later.
    "optimum": Way(
        ("torch", "optimum[onnxruntime]"),
        _ORT_MODEL,
        f"{_ORT_MODEL}; from transformers import BertConfig, BertTokenizerFast",
        ("transformers", "optimum", "tokenizers", "huggingface_hub"),
    ),
}


def build_wheel(folder: Path) -> Path:
    """Build the project's wheel by way of its sdist, unless it is there, and return it."""
    if not list(folder.glob("*.whl")):
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(output.ROOT)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return next(folder.glob("*.whl"))


def environment(work: Path, name: str) -> Path:
    """Make a way's environment, unless it is there, and return its interpreter."""
    way, folder = WAYS[name], work / name
    python, made = folder / "bin" / "python", folder / "made"
    if made.exists():
        return python
    output.log(f"{name}: making its environment")
    venv.create(folder, clear=True, with_pip=True)
    lines = (output.ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = folder / "constraints.txt"
    pins.write_text("\n".join(line for line in lines if line.partition("==")[0] not in way.unpinned), encoding="utf-8")
    wheel = build_wheel(work / "wheel")
    wanted = [one.format(wheel=wheel) for one in way.wanted]
    subprocess.run([str(python), "-m", "pip", "install", "-q", "-c", str(pins), *wanted], check=True, stdout=sys.stderr)
    made.touch()
    return python


def installed(python: Path) -> dict[str, Any]:
    """Megabytes and number of what pip installed in an environment, of them ours, and its largest."""
    site = next((python.parent.parent / "lib").glob("python*/site-packages"))
    found = [one for one in metadata.distributions(path=[str(site)]) if one.name.lower() not in _TOOLS]
    versions = {one.name: one.version for one in found}
    assert "cuda" not in " ".join(versions).lower(), f"{python} has a torch with CUDA: see the README for one without"
    sizes = {one.name: _bytes(one, site) / 1e6 for one in found}
    largest = sorted(sizes, key=lambda name: -sizes[name])[:_LARGEST]
    return {
        "mb": round(sum(sizes.values()), 1),
        "ours_mb": round(sizes.get("edgedistill", 0.0), 1),
        "distributions": len(found),
        "largest": {f"{name} {versions[name]}": round(sizes[name], 1) for name in largest},
    }


def _bytes(distribution: metadata.Distribution, site: Path) -> int:
    """Return the size of a package's files in site-packages; commands are elsewhere."""
    paths = [Path(str(distribution.locate_file(file))).resolve() for file in distribution.files or ()]
    return sum(path.stat().st_size for path in paths if path.is_relative_to(site.resolve()) and path.is_file())


def imported(python: Path, imports: str) -> dict[str, float]:
    """Milliseconds of the imports in a fresh interpreter, and megabytes of memory after them."""
    # Isolated: from the checkout's folder ours would be imported wherever it is not installed.
    command = [str(python), "-I", "-c", _TIMED.format(imports=imports)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, f"{imports}: {done.stderr}"
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measured(pythons: Mapping[str, Path], repeats: int) -> dict[str, dict[str, Any]]:
    """Figures of each way's two sorts of imports, and of an interpreter alone."""
    todo = {(INTERPRETER, "imports"): (pythons[BASE], "")}
    for name, python in pythons.items():
        todo |= {(name, kind): (python, getattr(WAYS[name], kind)) for kind in ("imports", "in_use")}
    for one in todo.values():  # so that none pays for a cold disk
        imported(*one)
    order, rounds = random.Random(0), []
    for number in range(repeats):
        rounds.append({case: imported(*todo[case]) for case in order.sample(list(todo), len(todo))})
        output.log(f"round {number + 1} of {repeats}")
    result: dict[str, dict[str, Any]] = {}
    for name, kind in todo:
        result.setdefault(name, {})[kind] = _figures(rounds, (name, kind), (BASE, kind))
    return result


def _figures(
    rounds: Sequence[Mapping[_Case, Mapping[str, float]]], case: _Case, base: _Case
) -> dict[str, dict[str, Any]]:
    """Medians and quartiles of each measure, and of its ratio to the base in the same round."""
    found: dict[str, dict[str, Any]] = {}
    for measure in _MEASURES:
        ratios = [of[case][measure] / of[base][measure] for of in rounds]
        found[measure] = {**spread([of[case][measure] for of in rounds], 1), "ratio": spread(ratios, 2)}
    return found


def spread(values: Collection[float], digits: int) -> dict[str, float]:
    """Median and quartiles."""
    found = np.percentile(list(values), [50, 25, 75])
    return {name: round(float(value), digits) for name, value in zip(("median", "low", "high"), found, strict=True)}


def main(work: WorkFolder, repeats: Repeats = 9) -> None:
    """Measure every way, and save the comparison."""
    pythons = {name: environment(work, name) for name in WAYS}
    sizes = {name: installed(python) for name, python in pythons.items()}
    output.log(f"{sizes}")
    found = measured(pythons, repeats)
    ways = {name: size | found[name] for name, size in sizes.items()}
    output.save_result(
        "install-size",
        {
            "repeats": repeats,
            "python": platform.python_version(),
            "machine": platform.machine(),
            INTERPRETER: found[INTERPRETER]["imports"],
            "ways": ways,
        },
    )
