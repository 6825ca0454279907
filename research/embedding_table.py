"""Measure what trimming and factoring the embedding table save, and what they cost.

The table is half of a small model. Without further training, on the palette's members, it compares the table trimmed
to the tokens of the training texts (and all single characters, which spell every other word) with the table as a
product of two factors, the best in squared error weighted by how often each token occurs.

Needs: the palette of `separate-distillation` with the same DATA, WORK and --share
Takes: about 10 minutes
"""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.shared import data_sets, output, quality_scores, training_runs
from benchmarks.shared.arguments import DataFolder, Share, WorkFolder
from edgedistill.data.dataset import TaskData
from edgedistill.distillation.mlfs import encode_data
from edgedistill.supernet import checkpoint
from edgedistill.supernet.checkpoint import Supernet
from edgedistill.supernet.vocabulary import trimmed

RANKS = (32, 64, 96, 128, 192)
_MEMBERS = ("1/2", "1/4", "1/9")


def factored(table: Tensor, counts: Tensor, rank: int) -> Tensor:
    """Return the product [V, d] of the best factors [V, r] and [r, d], a token weighted by its count plus one."""
    weights = (counts + 1).sqrt()[:, None]
    u, spread, v = torch.linalg.svd(table * weights, full_matrices=False)
    result: Tensor = (u[:, :rank] * spread[:rank]) @ v[:rank] / weights
    return result


def scores(supernet: Supernet, data: TaskData, teacher: Path) -> dict[str, float]:
    """Return some members' headline metric on test."""
    found = {}
    for size, subnet in training_runs.reference_subnets(teacher).items():
        if size in _MEMBERS:
            score, examples = quality_scores.score_of(data, training_runs.answers(supernet, subnet, data))
            found[size] = score(np.arange(examples))
    return found


def main(data_folder: DataFolder, work: WorkFolder, share: Share = 0.5) -> None:
    """Score each table, and save the comparison."""
    known, data = data_sets.read(data_folder)
    supernet = checkpoint.load(training_runs.trained_palette(known, work, share))
    teacher = training_runs.teacher(known, data, work)
    arch, table = supernet.model.arch, supernet.model.word_table.weight
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
        narrow = copy.deepcopy(supernet.model)
        narrow.word_table.weight.data.copy_(factored(table.data, counts, rank))
        rows[f"factors of rank {rank}"] = {
            "table_parameters": rank * (arch.vocabulary + arch.hidden),
            "scores": scores(replace(supernet, model=narrow), data, teacher),
        }
    output.save_finding(f"embedding-table-{known.name}", {"data": known.name, "share": share, "tables": rows})
