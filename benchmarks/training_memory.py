"""What training holds in memory: a low-rank stage against the same stage in full, for every family.

Claim: counts of trained parameters are r(d_in + d_out) a matrix and stage, and the peak of a process that trains
them is below that of full fine-tuning. Each figure is the peak resident memory of a fresh process less what it
held before its first step, on 32 rows of 32 tokens, three times, median; weights are random.

Usage: python benchmarks/training_memory.py
"""

from __future__ import annotations

import json
import subprocess
import sys
from statistics import median

import lab

from edgedistill.distillation.scaling import trained_parameters
from edgedistill.subnet import Architecture

RANK = 16
FAMILIES = {
    "MiniLM-L6 (BERT)": Architecture("bert", 6, 384, 12, 32, 1536, 30522, 512, 2, 2, "mean", None),
    "BERT-base": Architecture("bert", 12, 768, 12, 64, 3072, 30522, 512, 2, 2, "first", "tanh"),
    "RoBERTa-base": Architecture("roberta", 12, 768, 12, 64, 3072, 50265, 514, 1, 2, "first", "tanh"),
    "DistilBERT-base": Architecture("distilbert", 6, 768, 12, 64, 3072, 30522, 512, 0, 2, "first", "relu"),
}
_REPEATS = 3


def measured(family: str, rank: int | None) -> float:
    """Megabytes (10⁶ bytes) of one fresh process."""
    command = [sys.executable, __file__, family, str(rank or 0)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def train_some(family: str, rank: int) -> None:
    """Three steps of AdamW on the full model; print how far the peak rose."""
    import resource

    import psutil
    import torch

    from edgedistill.supernet.encoder import ElasticEncoder

    arch = FAMILIES[family]
    model = ElasticEncoder(arch)
    model.begin_stage(rank or None, torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    ids = torch.randint(0, arch.vocabulary, (32, 32))
    before = psutil.Process().memory_info().rss
    for _ in range(3):
        types = torch.zeros_like(ids) if arch.token_types else None
        model(ids, torch.ones_like(ids), types, arch.full).logits.square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print((peak - before) / 1e6)


def main() -> None:
    """Measure every family both ways, interleaved; keep the table."""
    found = {}
    for family, arch in FAMILIES.items():
        times = [[measured(family, rank) for rank in (RANK, None)] for _ in range(_REPEATS)]
        low, full = (trained_parameters(arch, arch.full, rank) for rank in (RANK, None))
        found[family] = {
            "low_rank_parameters_a_stage": low.matrices,
            "vectors": low.vectors,
            "head": low.head,
            "matrices_in_full": full.matrices,
            "low_rank_mb": round(median(first for first, _ in times), 1),
            "full_mb": round(median(second for _, second in times), 1),
            "spread_mb": round(max(max(t[i] for t in times) - min(t[i] for t in times) for i in (0, 1)), 1),
        }
        print(json.dumps({family: found[family]}), file=sys.stderr)
    lab.keep("training-memory", {"rank": RANK, "families": found})


if __name__ == "__main__":
    if len(sys.argv) > 1:
        train_some(sys.argv[1], int(sys.argv[2]))
    else:
        main()
