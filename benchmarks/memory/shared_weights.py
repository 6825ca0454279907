"""Measure what one shared weights file saves in disk, load time and memory.

Claims, for twelve subnets: the family takes at most 1.03 times the disk of its largest member alone, in each
precision. A member loads in at most 0.6 times the time of a stand-alone ONNX file of the same subnet, at the family's
median. Its memory is at most 1.02 times for each, and 0.7 at the median.

Fresh processes run one after the other, shared and alone in turn. Weights are random (sizes and speed do not depend on
them), in the dimensions of MiniLM-L6 and BERT-base.

Needs: nothing
Takes: about 40 minutes
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, get_args

import onnx
import torch

from benchmarks.shared import output
from benchmarks.shared.arguments import Repeats
from edgedistill.architecture import Architecture, SearchSpace, Subnet
from edgedistill.device_profiles.job import Job, MemoryResult
from edgedistill.exporters.encoder_graph import encoder_graph
from edgedistill.exporters.weights import EncoderWeightStore, write_weights
from edgedistill.palette import Precision, TensorSpec
from edgedistill.supernet.model import ElasticTransformer
from edgedistill.supernet.slicing import full_tensors

MODELS = {
    "MiniLM-L6": Architecture(
        model_type="bert",
        layers=6,
        hidden=384,
        heads=12,
        head_size=32,
        ffn=1536,
        vocabulary=30522,
        positions=512,
        token_types=2,
        outputs=150,
        pooling="mean",
    ),
    "BERT-base": Architecture(
        model_type="bert",
        layers=12,
        hidden=768,
        heads=12,
        head_size=64,
        ffn=3072,
        vocabulary=30522,
        positions=512,
        token_types=2,
        outputs=150,
        pooling="first",
        dense="tanh",
    ),
}
_TOKENS = 16
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def twelve(arch: Architecture) -> list[Subnet]:
    """Three depths, two widths of each kind; the largest first."""
    depths = tuple(tuple(range(arch.layers * part // 3)) for part in (3, 2, 1))
    space = SearchSpace(depths, (arch.hidden,), (arch.heads, arch.heads // 4), (arch.ffn, arch.ffn // 4))
    return sorted(space, key=arch.layer_parameters, reverse=True)


def write(model: ElasticTransformer, precision: Precision, folder: Path) -> list[tuple[Path, Path]]:
    """Write each member's graph over the family's weights, and as a file of its own."""
    arch = model.arch
    store = EncoderWeightStore.of(arch, full_tensors(model), precision)
    family, alone = folder / f"family-{precision}", folder / f"alone-{precision}"
    family.mkdir()
    alone.mkdir()
    members = twelve(arch)
    shared = write_weights(family, store, members)
    pairs = []
    for subnet in members:
        path, single = family / f"{subnet.name}.onnx", alone / f"{subnet.name}.onnx"
        path.write_bytes(encoder_graph(store, subnet, shared, eps=model.eps)[0].SerializeToString())
        with tempfile.TemporaryDirectory() as scratch:
            weights = write_weights(Path(scratch), store, [subnet])
            graph, _ = encoder_graph(store, subnet, weights, eps=model.eps, portable=True)
            onnx.load_external_data_for_model(graph, scratch)
            onnx.save(graph, single)
        pairs.append((path, single))
    return pairs


def measured(path: Path) -> dict[str, float]:
    """Load time and peak memory of one fresh process, by the profiler's own worker."""
    job = Job(
        task="memory",
        graphs={path.stem: str(path)},
        inputs=[TensorSpec(name=name, dtype="int64", shape=["batch", "sequence"]) for name in _INPUTS],
        weights=str(path),  # what is shared stays in the page cache: the load that is compared is a warm one
        shapes=[(1, _TOKENS)],
        threads=1,
        vocabulary=1000,
        width=1.0,
        rounds=1,
        budget_s=1.0,
    )
    command = [sys.executable, "-m", "edgedistill.device_profiles.worker"]
    done = subprocess.run(command, input=job.model_dump_json(), capture_output=True, text=True, check=True)
    found = MemoryResult.model_validate_json(done.stdout.splitlines()[-1])
    return {"load_ms": found.load_ms, "memory_mb": found.peak_mb}


def compared(pairs: list[tuple[Path, Path]], repeats: int) -> dict[str, Any]:
    """Ratios shared over alone, by member: medians over repeats."""
    members = {}
    for path, single in pairs:
        times = [(measured(path), measured(single)) for _ in range(repeats)]
        of = {
            key: {
                "shared": round(median(first[key] for first, _ in times), 2),
                "alone": round(median(second[key] for _, second in times), 2),
                "ratio": round(median(first[key] / second[key] for first, second in times), 3),
                "spread": round(max(f[key] / s[key] for f, s in times) - min(f[key] / s[key] for f, s in times), 3),
            }
            for key in ("load_ms", "memory_mb")
        }
        members[path.stem] = of
        output.log(f"{path.stem}: {of}")
    family = sum(file.stat().st_size for file in pairs[0][0].parent.iterdir())
    return {
        "members": members,
        "disk_mb": {"family": family / 1e6, "stand_alone": sum(s.stat().st_size for _, s in pairs) / 1e6},
        "disk_over_largest": round(family / pairs[0][1].stat().st_size, 4),
        "load_ratio_at_the_median": median(of["load_ms"]["ratio"] for of in members.values()),
        "memory_ratio_at_the_median": median(of["memory_mb"]["ratio"] for of in members.values()),
        "largest_memory_ratio": max(of["memory_mb"]["ratio"] for of in members.values()),
    }


def main(repeats: Repeats = 5) -> None:
    """Measure both models in both precisions, and save the comparison."""
    found: dict[str, Any] = {}
    for name, arch in MODELS.items():
        torch.manual_seed(0)
        model = ElasticTransformer(arch)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.02)
        model.freeze()
        with tempfile.TemporaryDirectory() as scratch:
            for precision in get_args(Precision):
                pairs = write(model, precision, Path(scratch))
                found[f"{name}, {precision}"] = compared(pairs, repeats)
    output.save_result("shared-weights", {"repeats": repeats, "models": found})
