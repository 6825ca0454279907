"""The embedding table is half of a small model: what trimming it and factoring it save, and what they cost.

Without further training, on the palette's members: the table trimmed to the tokens of the training texts (with
all single characters, so that every other word can still be spelt), and the table as a product of two factors
of some rank, the best in squared error weighted by how often each token is used.

Usage: python -m benchmarks run embedding-table DATA WORK [SHARE], after separate_distillation.py with the same ones,
whose palette this takes.
"""

from __future__ import annotations

import copy
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.shared import data_sets, output, quality_scores, training_runs
from edgedistill.distillation.data import TaskData
from edgedistill.distillation.mlfs import encode_data
from edgedistill.supernet import checkpoint
from edgedistill.supernet.checkpoint import Supernet
from edgedistill.supernet.vocabulary import trimmed

RANKS = (32, 64, 96, 128, 192)
_MEMBERS = ("1/2", "1/4", "1/9")


def factored(table: Tensor, counts: Tensor, rank: int) -> Tensor:
    """The product [V, d] of the best factors [V, r] and [r, d], a token weighted by its count and one more."""
    weights = (counts + 1).sqrt()[:, None]
    u, spread, v = torch.linalg.svd(table * weights, full_matrices=False)
    result: Tensor = (u[:, :rank] * spread[:rank]) @ v[:rank] / weights
    return result


def scores(supernet: Supernet, data: TaskData, teacher: Path) -> dict[str, float]:
    """Some members' headline on test."""
    found = {}
    for size, subnet in training_runs.reference_subnets(teacher).items():
        if size in _MEMBERS:
            score, examples = quality_scores.score_of(data, training_runs.answers(supernet, subnet, data))
            found[size] = score(np.arange(examples))
    return found


def main(data_folder: str, work_folder: str, share: str = "0.5") -> None:
    """Score each table; keep the comparison."""
    known, data = data_sets.read(Path(data_folder))
    teacher = training_runs.teacher(known, data, Path(work_folder))
    supernet = checkpoint.load(Path(work_folder) / f"{teacher.name}-palette-{float(share):g}")
    arch, table = supernet.encoder.arch, supernet.encoder.embeddings.word.weight
    used = Counter(token for ids in encode_data(supernet, data).train.ids for token in ids)
    rows: dict[str, Any] = {
        "whole": {"table_parameters": table.numel(), "scores": scores(supernet, data, teacher)},
    }
    few = trimmed(supernet, used)
    rows[f"trimmed to {few.model.arch.vocabulary} tokens"] = {
        "table_parameters": few.model.arch.vocabulary * arch.hidden,
        "scores": scores(few, data, teacher),
    }
    counts = torch.tensor([float(used[token]) for token in range(arch.vocabulary)])
    for rank in RANKS:
        narrow = copy.deepcopy(supernet.encoder)
        narrow.embeddings.word.weight.data.copy_(factored(table.data, counts, rank))
        rows[f"factors of rank {rank}"] = {
            "table_parameters": rank * (arch.vocabulary + arch.hidden),
            "scores": scores(replace(supernet, model=narrow), data, teacher),
        }
    output.save_finding(f"embedding-table-{known.name}", {"data": known.name, "share": float(share), "tables": rows})


if __name__ == "__main__":
    main(*sys.argv[1:])
